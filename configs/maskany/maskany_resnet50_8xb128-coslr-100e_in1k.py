# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskAny around mmpretrain's own ResNet-50: a plain checkpoint of it loads as it is.
_base_ = '../maskany_r50_in1k.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=dict(type='mmpretrain.ResNet', depth=50, zero_init_residual=False),
        masking=_base_.model.backbone.masking,
    )
)
