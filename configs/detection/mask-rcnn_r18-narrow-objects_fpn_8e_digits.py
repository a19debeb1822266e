# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: in one image of two a quarter is masked, outside of the digits first, so that the background is another one.
_base_ = './mask-rcnn_r18-narrow_fpn_8e_digits.py'

model = dict(
    type='mmmaskany.MaskedDetector',
    host='mmdet.MaskRCNN',
    masking=dict(
        pattern=dict(
            type='mmmaskany.MixturePattern',
            patterns=[dict(type='mmmaskany.ObjectPattern', ratio=0.25, cell=8, hide='outside')],
            probs=[0.5],
        ),
        reuse=False,
    ),
    objects=dict(policy='drop', min_visible=0.25),
)
