# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Un-Mix and MixMask together: two mixed images, and two more terms of the loss, for each.
_base_ = './mocov2_resnet50_8xb32-coslr-200e_in1k.py'

model = dict(
    type='mmmaskany.MixMaskMoCo',
    mixing=[
        dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.BlockPattern', ratio=0.5, cell=28, base=28)),
        dict(type='mmmaskany.UnMix'),
    ],
)
