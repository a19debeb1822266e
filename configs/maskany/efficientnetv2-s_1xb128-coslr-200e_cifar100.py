# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain EfficientNetV2-S, and the recipe of all of them. Its stride of 32 would leave a single feature of 32
# px, so the images are enlarged to 128 px; the paper's code enlarges them to 224 px, which is three times the work.
_base_ = [
    'mmpretrain::_base_/models/efficientnet_v2/efficientnetv2_s.py',
    '../_base_/datasets/cifar100_bs128.py',
    '../_base_/schedules/small-images_bs128_coslr-200e.py',
    '../_base_/default_runtime.py',
]

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='Resize', scale=128, interpolation='bicubic'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='Resize', scale=128, interpolation='bicubic'),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]

# The drop path of the paper's code.
model = dict(backbone=dict(drop_path_rate=0.2), head=dict(num_classes=100))
