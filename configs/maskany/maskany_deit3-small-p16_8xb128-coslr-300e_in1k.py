# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskAny around DeiT-III-S: a plain checkpoint of it loads as it is.
_base_ = ['./deit3-small-p16_8xb128-coslr-300e_in1k.py', '../_base_/in1k_masking.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=_base_.model.backbone,
        masking=dict(_base_.in1k_masking, fill=dict(type='mmmaskany.ConstantFill', value=_base_.black)),
    )
)
