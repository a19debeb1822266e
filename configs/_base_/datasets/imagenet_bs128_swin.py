# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# mmpretrain's ImageNet for transformers and ConvNeXt: bicubic crops, RandAugment, random erasing.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py'

# A black pixel after normalising: what in-model masking fills with.
black = [-m / s for m, s in zip(_base_.data_preprocessor.mean, _base_.data_preprocessor.std, strict=True)]

loading = dict(
    batch_size=128,
    num_workers=8,
    pin_memory=True,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
)
train_dataloader = loading
val_dataloader = loading
test_dataloader = loading

tta_pipeline = [
    *_base_.test_pipeline[:-1],
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='PackInputs')],
        ],
    ),
]
