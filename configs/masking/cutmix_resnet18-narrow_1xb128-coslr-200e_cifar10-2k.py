# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# mmpretrain's CutMix of the plain network as published for CIFAR (arXiv 1905.04899): alpha 1, in every second batch.
_base_ = '../maskany/resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=0.5))
