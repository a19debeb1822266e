# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: fused late. The whole ResNet-50 sees both images, with shared weights, and their levels are fused in front of
# the FPN. There is no second stem, so it starts from the plain classifier.
_base_ = './faster-rcnn_maskany-r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(fuse_at='neck', init_cfg=_base_.pretrained.resnet50),
    neck=dict(
        _delete_=True,
        type='mmmaskany.MaskAnyNeck',
        in_channels=_base_.model.neck.in_channels,
        neck=dict(_base_.model.neck, type='mmdet.FPN'),
    ),
)
