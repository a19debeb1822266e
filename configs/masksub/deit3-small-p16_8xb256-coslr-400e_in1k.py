# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# DeiT III S on ImageNet-1k, the plain twin: the recipe of its paper (arXiv 2204.07118) over 400 epochs, as that of
# MaskSub's plain networks; docs/fidelity.md says what of it is as published.
_base_ = [
    'mmpretrain::_base_/models/deit3/deit3-small-p16-224.py',
    '../_base_/datasets/imagenet_bs256_3augment_224.py',
    '../_base_/schedules/imagenet_bs2048_lamb-coslr-400e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        type='mmmaskany.DeiT3',  # mmpretrain's computes another function
        drop_path_rate=0.0,
    ),
    head=dict(loss=dict(_delete_=True, type='mmmaskany.BinaryTargetLoss')),
)
