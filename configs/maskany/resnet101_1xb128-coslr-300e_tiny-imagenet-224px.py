# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain ResNet-101, prepared and trained as its ResNet-34.
_base_ = './resnet34_1xb128-coslr-300e_tiny-imagenet-224px.py'

model = dict(backbone=dict(depth=101), head=dict(in_channels=2048))
