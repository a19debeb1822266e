# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain network, same recipe.
_base_ = './maskany_resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py'

model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
