# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: MoCo v2 itself on the digits. Queue, momentum encoder and temperature suit 330 steps in all, and the projection
# has a batch norm: without it all digits stay one point for as long.
_base_ = [
    '../_base_/datasets/digits_bs64_views.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/digits_bs64_coslr-15e.py',
]

model = dict(
    type='MoCo',
    queue_len=512,
    feat_dim=64,
    momentum=0.02,
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=16, base_channels=16, strides=(2, 2, 2, 2)),
    neck=dict(
        type='NonLinearNeck',
        in_channels=128,
        hid_channels=128,
        out_channels=64,
        with_last_bn=False,
        with_avg_pool=True,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.07),
)
# One line an epoch of 22 steps, over all of them.
default_hooks = dict(logger=dict(interval=22))
log_processor = dict(window_size=22)
