# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskAny around mmpretrain's ViT-B/16: a plain checkpoint of it loads as it is.
_base_ = ['./vit-base-p16_8xb128-coslr-300e_in1k.py', '../_base_/in1k_masking.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=dict(_base_.model.backbone, type='mmpretrain.VisionTransformer'),
        masking=dict(_base_.in1k_masking, fill=dict(type='mmmaskany.ConstantFill', value=_base_.black)),
    )
)
