# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# DeiT III H on ImageNet-1k, the plain twin: the recipe of its paper (arXiv 2204.07118) over 400 epochs, as that of
# MaskSub's plain networks; docs/fidelity.md says what of it is as published. It trains on images of 160 px;
# deit3-huge-p14_160px-pre_16xb32-coslr-20e_in1k.py goes on at 224 px.
_base_ = [
    'mmpretrain::_base_/models/deit3/deit3-huge-p14-224.py',
    '../_base_/datasets/imagenet_bs256_3augment_160.py',
    '../_base_/schedules/imagenet_bs2048_lamb-coslr-400e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        type='mmmaskany.DeiT3',  # mmpretrain's computes another function
        img_size=160,
        patch_cfg=dict(padding=0),  # 11 x 11 patches; mmpretrain would pad to 12 x 12
        drop_path_rate=0.0,
        layer_cfgs=dict(drop_path_rate=0.5),  # the same in every layer
    ),
    head=dict(loss=dict(_delete_=True, type='mmmaskany.BinaryTargetLoss')),
)

optim_wrapper = dict(optimizer=dict(lr=3e-3 * 2048 / 2048))
param_scheduler = [dict(_base_.param_scheduler[0], start_factor=1e-6 / 3e-3), _base_.param_scheduler[1]]

train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=64)
test_dataloader = val_dataloader
