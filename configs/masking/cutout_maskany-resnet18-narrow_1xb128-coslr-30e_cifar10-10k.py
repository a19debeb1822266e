# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Cutout: one black rectangle, a quarter of the image, in four images of ten, and what it hides is lost.
_base_ = '../maskany/maskany_resnet18-narrow-patch_1xb128-coslr-30e_cifar10-10k.py'

model = dict(backbone=dict(masking=dict(reuse=False)))
