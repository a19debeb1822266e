# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Un-Mix: each image is blended with another one, or has a rectangle of it.
_base_ = './mocov2_resnet50_8xb32-coslr-200e_in1k.py'

model = dict(
    type='mmmaskany.MixMaskMoCo',
    mixing=dict(type='mmmaskany.UnMix'),
)
