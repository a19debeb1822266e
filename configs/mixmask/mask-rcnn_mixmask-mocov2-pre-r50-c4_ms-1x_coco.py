# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask R-CNN R50-C4 on COCO from MixMask on MoCo v2.
_base_ = './mask-rcnn_mocov2-pre-r50-c4_ms-1x_coco.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k/epoch_200.pth'))
)
