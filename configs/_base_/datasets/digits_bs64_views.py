# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Two views of each digit for Siamese pre-training. No flips: a digit would become another sign.
_base_ = './digits_bs32_selfsup.py'

view_pipeline = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.4, 1.0)),
    dict(
        type='RandomApply',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4)],
        prob=0.8,
    ),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=2, transforms=[view_pipeline]),
    dict(type='PackInputs'),
]
# MoCo's queue takes whole batches alone.
train_dataloader = dict(batch_size=64, drop_last=True, dataset=dict(pipeline=train_pipeline))
