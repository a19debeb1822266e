# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskResNet-101 on CIFAR-100, prepared and trained as its MaskResNet-34.
_base_ = './maskany_maskresnet34-pipeline_1xb128-coslr-300e_cifar100-224px.py'

model = dict(backbone=dict(depth=101), head=dict(in_channels=2048))
