# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskResNet-101 on Tiny-ImageNet, prepared and trained as its MaskResNet-34.
_base_ = './maskany_maskresnet34-pipeline_1xb128-coslr-300e_tiny-imagenet-224px.py'

model = dict(backbone=dict(depth=101), head=dict(in_channels=2048))
