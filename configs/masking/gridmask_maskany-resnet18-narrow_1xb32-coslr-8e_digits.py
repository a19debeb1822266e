# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# GridMask: black cells at a regular distance.
_base_ = './cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(patterns=[dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=1)]),
        ),
    ),
)
