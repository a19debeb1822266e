# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub for Mask R-CNN on scenes of digits: in the sub-branch half of the cells of 8 px are the mean colour. The plain
# twin is configs/detection/mask-rcnn_r18-narrow_fpn_8e_digits.py.
_base_ = '../detection/mask-rcnn_r18-narrow_fpn_8e_digits.py'

model = dict(
    type='mmmaskany.MaskSubDetector',
    host='mmdet.MaskRCNN',
    sub_masking=dict(
        type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
