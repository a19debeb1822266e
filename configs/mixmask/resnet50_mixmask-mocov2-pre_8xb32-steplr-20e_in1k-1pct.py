# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Semi-supervised fine-tuning from MixMask on MoCo v2: 1 % of the labels.
_base_ = './resnet50_mocov2-pre_8xb32-steplr-20e_in1k-1pct.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k/epoch_200.pth'))
)
