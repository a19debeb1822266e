# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask2Former on ADE20K with MaskAny around mmseg's ResNet-50. Masking is off: the reused stem sees the whole image at
# half size.
_base_ = './r50_mask2former_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=dict(_base_.model.backbone, type='mmseg.ResNet', init_cfg=None),
        init_cfg=_base_.pretrained.maskany_resnet50,
    )
)
