# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin of MaskMix: mmpretrain's own CutMix, in four batches of ten.
_base_ = '../maskany/resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=0.4))
