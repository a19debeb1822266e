# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# CutMix with any pattern: MaskAny's masks, filled from another image, and labels weighted by the area.
_base_ = '../maskany/maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(
    backbone=dict(_delete_=True, **_base_.model.backbone.backbone),
    train_cfg=dict(augments=dict(type='mmmaskany.MaskMix', pattern=_base_.model.backbone.masking.pattern)),
)
