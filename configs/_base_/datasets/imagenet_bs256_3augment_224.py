# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ImageNet-1k in the manner of DeiT III (arXiv 2204.07118): 3-Augment, which is one of grayscale, solarize and blur, and
# colour jitter; repeated augmentation; at test time the whole image.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs64_deit3_224.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomGrayscale', prob=1.0, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989))],
            [dict(type='Solarize', thr=128, prob=1.0)],
            [dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=1.0)],
        ],
    ),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    sampler=dict(type='RepeatAugSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=256, num_workers=8)
test_dataloader = val_dataloader
