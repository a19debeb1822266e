# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ImageNet-1k as DeiT III goes on with it at 224 px: RandAugment (rand-m9-mstd0.5-inc1) in place of 3-Augment and colour
# jitter, no repeated augmentation; at test time the whole image.
_base_ = './imagenet_bs256_3augment_224.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
    ),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=64,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=64)
test_dataloader = val_dataloader
