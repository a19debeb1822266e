# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# As in SimMIM: large cells anywhere, and a learned colour in their place.
_base_ = './cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(patterns=[dict(type='mmmaskany.RandomPattern', scale=0.5, cell=8, base=1)]),
            fill=dict(_delete_=True, type='mmmaskany.TokenFill'),
        ),
    ),
)
