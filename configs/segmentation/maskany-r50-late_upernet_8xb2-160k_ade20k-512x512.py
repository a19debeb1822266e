# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: fused late. The whole ResNet-50 sees both images, with shared weights, and their levels are fused before they
# leave it. There is no second stem, so it starts from the plain classifier, and as it.
_base_ = './maskany-r50_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(backbone=dict(fuse_at='levels', init_cfg=_base_.pretrained.resnet50))
