# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: MoCo v2 itself on CIFAR-100, with a queue and a momentum encoder that suit 97 steps an epoch.
_base_ = [
    '../_base_/datasets/cifar100_bs512_views.py',
    '../_base_/schedules/small-images_bs512_coslr-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='MoCo',
    queue_len=4096,
    feat_dim=128,
    momentum=0.01,
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18),
    neck=dict(type='MoCoV2Neck', in_channels=512, hid_channels=512, out_channels=128, with_avg_pool=True),
    head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.2),
)
