# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Faster R-CNN R50-C4 on VOC07+12 from MixMask on MoCo v2.
_base_ = './faster-rcnn_mocov2-pre-r50-c4_ms-24k_voc0712.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='work_dirs/mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k/epoch_200.pth'))
)
