# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# GridMask: black cells at a regular distance, a quarter of four images in ten, and what they hide is lost.
_base_ = '../maskany/maskany_resnet18-narrow-grid_1xb128-coslr-30e_cifar10-10k.py'

model = dict(backbone=dict(masking=dict(reuse=False)))
