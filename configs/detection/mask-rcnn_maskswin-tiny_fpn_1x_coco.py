# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask R-CNN on COCO with the paper's MaskSwin-T. Masking is off: the reused stem sees the whole image at half size.
_base_ = './mask-rcnn_swin-tiny_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        type='mmmaskany.MaskSwinTransformer',
        init_cfg=_base_.classifiers['maskany_maskswin-tiny'],
    )
)
