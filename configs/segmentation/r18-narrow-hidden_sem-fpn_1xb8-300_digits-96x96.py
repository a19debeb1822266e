# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: in one image of two a quarter is masked, and what is hidden is ignored as if it had no label.
_base_ = './r18-narrow_sem-fpn_1xb8-300_digits-96x96.py'

model = dict(
    type='mmmaskany.MaskedSegmentor',
    masking=dict(
        pattern=dict(
            type='mmmaskany.MixturePattern',
            patterns=[dict(type='mmmaskany.RandomPattern', ratio=0.25, cell=8)],
            probs=[0.5],
        ),
        reuse=False,
    ),
    hidden_weight=0.0,
)
