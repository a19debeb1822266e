# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# RetinaNet on COCO with the paper's MaskResNet-50. Masking is off: the reused stem sees the whole image at half size.
_base_ = './retinanet_r50_fpn_1x_coco.py'

model = dict(backbone=dict(type='mmmaskany.MaskResNet', init_cfg=_base_.pretrained.maskresnet50))
