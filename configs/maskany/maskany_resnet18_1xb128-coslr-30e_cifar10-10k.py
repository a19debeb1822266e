# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The same masks on the full ResNet-18.
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(
    backbone=dict(backbone=dict(stem_channels=64, base_channels=64, strides=(1, 2, 2, 2))), head=dict(in_channels=512)
)
