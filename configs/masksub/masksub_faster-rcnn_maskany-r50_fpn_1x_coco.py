# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub for Faster R-CNN on COCO: in the sub-branch half of the cells of 32 px are the mean colour. The plain twin is
# configs/detection/faster-rcnn_maskany-r50_fpn_1x_coco.py.
_base_ = '../detection/faster-rcnn_maskany-r50_fpn_1x_coco.py'

model = dict(
    type='mmmaskany.MaskSubDetector',
    host='mmdet.FasterRCNN',
    sub_masking=dict(
        type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=32, base=32)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
