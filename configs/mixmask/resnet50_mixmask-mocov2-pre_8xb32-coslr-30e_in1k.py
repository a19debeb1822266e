# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Supervised fine-tuning from MixMask on MoCo v2, with all labels.
_base_ = './resnet50_mocov2-pre_8xb32-coslr-30e_in1k.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k/epoch_200.pth'))
)
