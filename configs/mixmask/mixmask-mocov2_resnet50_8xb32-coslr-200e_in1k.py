# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MixMask: an 8 x 8 grid of which half, in blocks, shows another image.
_base_ = './mocov2_resnet50_8xb32-coslr-200e_in1k.py'

model = dict(
    type='mmmaskany.MixMaskMoCo',
    mixing=dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.BlockPattern', ratio=0.5, cell=28, base=28)),
)
