# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K with MaskAny around mmpretrain's Swin-T. Masking is off: the reused stem sees the whole image at
# half size.
_base_ = './swin-tiny_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=dict(_base_.model.backbone, init_cfg=None),
        init_cfg=_base_.classifiers['maskany_swin-tiny'],
    )
)
