# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# DINO on COCO with the paper's MaskResNet-50. Masking is off: the reused stem sees the whole image at half size.
_base_ = './dino-4scale_r50_8xb2-12e_coco.py'

model = dict(backbone=dict(type='mmmaskany.MaskResNet', init_cfg=_base_.pretrained.maskresnet50))
