# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Linear probe of what MixMask on MoCo v2 learned from ImageNet.
_base_ = './resnet50_mocov2-pre_8xb32-linear-steplr-100e_in1k.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k/epoch_200.pth'))
)
