# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# mmpretrain's ImageNet for EfficientNetV2-S: trained at 300 px, tested at 384 px, normalised to -1 .. 1.
_base_ = './imagenet_bs128.py'

data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
# A black pixel after normalising: what in-model masking fills with.
black = [-1.0, -1.0, -1.0]

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='EfficientNetRandomCrop', scale=300, crop_padding=0),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='EfficientNetCenterCrop', crop_size=384, crop_padding=0),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
