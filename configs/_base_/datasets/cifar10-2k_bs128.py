# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Two thousand images of CIFAR-10, drawn once with a seed of their own: what two CPU cores can train for as many epochs
# as gains of Cutout and CutMix are published with. All 10,000 test images.
_base_ = './cifar10-10k_bs128.py'

train_dataloader = dict(dataset=dict(num_splits=25))
