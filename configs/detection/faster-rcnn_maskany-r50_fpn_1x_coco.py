# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Faster R-CNN on COCO with MaskAny around mmdet's ResNet-50. Masking is off: the reused stem sees the whole image at
# half size.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=dict(_base_.model.backbone, type='mmdet.ResNet', init_cfg=None),
        init_cfg=_base_.pretrained.maskany_resnet50,
    )
)
