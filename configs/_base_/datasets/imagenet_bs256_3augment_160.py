# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The images of imagenet_bs256_3augment_224.py at 160 px, on which DeiT III trains its larger networks first.
_base_ = './imagenet_bs256_3augment_224.py'

train_pipeline = [
    dict(step, scale=160) if step['type'] == 'RandomResizedCrop' else step for step in _base_.train_pipeline
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=160, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=160),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
