# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The variants of the check of the harness: two thousand images of CIFAR-10, drawn once with a seed of their own, which
# a narrow ResNet-18 learns by heart in 200 epochs; with as many, gains of CutMix are published. All 10,000 test images,
# at the end alone.
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

train_dataloader = dict(dataset=dict(num_splits=25))

param_scheduler = dict(T_max=200, end=200)
train_cfg = dict(max_epochs=200, val_interval=200)
