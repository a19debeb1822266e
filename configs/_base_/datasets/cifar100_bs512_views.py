# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Two views of each image of CIFAR-100 for Siamese pre-training, as MoCo and SimSiam make them of CIFAR-10: MoCo v2's
# without blur.
_base_ = './cifar100_bs128.py'

data_preprocessor = dict(
    _delete_=True,
    type='SelfSupDataPreprocessor',
    mean=_base_.data_preprocessor.mean,
    std=_base_.data_preprocessor.std,
    to_rgb=False,  # images are stored as RGB
)
view_pipeline = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 1.0)),
    dict(
        type='RandomApply',
        # torchvision's, because the hue of mmpretrain's needs negative numbers that NumPy 2 refuses.
        transforms=[
            dict(type='NumpyToPIL'),
            dict(type='torchvision/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
            dict(type='PILToNumpy'),
        ],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.2989, 0.587, 0.114)),
    dict(type='RandomFlip', prob=0.5),
]
train_pipeline = [
    dict(type='MultiView', num_views=2, transforms=[view_pipeline]),
    dict(type='PackInputs'),
]
# MoCo's queue takes whole batches alone.
train_dataloader = dict(batch_size=512, num_workers=8, drop_last=True, dataset=dict(pipeline=train_pipeline))
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
