# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18, same recipe.
_base_ = './maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
