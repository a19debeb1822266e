# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# Twin: the same masks, but what they hide is lost (GridMask, Cutout): the reused view is the visible image at half
# size.
_base_ = './maskany_resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py'

model = dict(backbone=dict(masking=dict(reuse=False)))
