# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ColorMAE's red noise: large smooth regions (low-pass).
_base_ = './cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(
                patterns=[dict(type='mmmaskany.NoisePattern', color='red', scale=0.5, cell=2, base=1)],
            ),
        ),
    ),
)
