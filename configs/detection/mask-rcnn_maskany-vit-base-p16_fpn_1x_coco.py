# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask R-CNN on COCO with MaskAny around mmpretrain's ViT-B/16. Masking is off: the reused stem sees the whole image at
# half size.
_base_ = './mask-rcnn_vit-base-p16_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=dict(_base_.model.backbone, init_cfg=None),
        init_cfg=_base_.classifiers['maskany_vit-base-p16'],
    )
)
