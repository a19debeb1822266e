# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain ResNet-18, same recipe.
_base_ = './maskany_resnet18_1xb128-coslr-200e_cifar100.py'

model = dict(backbone=dict(_delete_=True, type='mmpretrain.ResNet_CIFAR', depth=18))
