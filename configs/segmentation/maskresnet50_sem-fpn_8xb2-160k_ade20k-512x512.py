# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Semantic FPN on ADE20K with the paper's MaskResNet-50. Masking is off: the reused stem sees the whole image at half
# size.
_base_ = './r50_sem-fpn_8xb2-160k_ade20k-512x512.py'

model = dict(backbone=dict(type='mmmaskany.MaskResNet', init_cfg=_base_.pretrained.maskresnet50))
