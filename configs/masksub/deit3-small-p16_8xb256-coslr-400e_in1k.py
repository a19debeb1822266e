# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# DeiT III S on ImageNet-1k, the plain twin: mmpretrain's network, and a recipe in the manner of its paper (arXiv
# 2204.07118); README.md says what of it is not confirmed. The loss is the binary cross entropy, averaged over the
# classes, which matters as gradients are clipped.
_base_ = [
    'mmpretrain::_base_/models/deit3/deit3-small-p16-224.py',
    '../_base_/datasets/imagenet_bs256_3augment_224.py',
    '../_base_/schedules/imagenet_bs2048_lamb-coslr-400e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(drop_path_rate=0.0),
    head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1 / 1000)),
)
