# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: fused late. The whole ResNet-50 sees both images, with shared weights, and their levels are fused in front of
# the heads. There is no second stem, so it starts from the plain classifier.
_base_ = './maskany-r50_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(fuse_at='neck', init_cfg=_base_.pretrained.resnet50),
    neck=dict(type='mmmaskany.MaskAnyNeck', in_channels=_base_.model.decode_head.in_channels),
)
