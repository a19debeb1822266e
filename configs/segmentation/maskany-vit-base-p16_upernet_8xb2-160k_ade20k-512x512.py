# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K with MaskAny around mmpretrain's ViT-B/16. Masking is off: the reused stem sees the whole image at
# half size.
_base_ = './vit-base-p16_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=dict(_base_.model.backbone, init_cfg=None),
        init_cfg=_base_.classifiers['maskany_vit-base-p16'],
    )
)
