# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: in one image of two three of ten cells of 32 px are masked; the loss of what they hide counts half.
_base_ = './r50_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    type='mmmaskany.MaskedSegmentor',
    masking=dict(
        pattern=dict(
            type='mmmaskany.MixturePattern',
            patterns=[dict(type='mmmaskany.RandomPattern', ratio=0.3, cell=32)],
            probs=[0.5],
        ),
        reuse=False,
    ),
    hidden_weight=0.5,
)
