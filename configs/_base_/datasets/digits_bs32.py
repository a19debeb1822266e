# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Written by tools/dataset_converters/digits.py.
dataset_type = 'CustomDataset'
data_preprocessor = dict(
    num_classes=10,
    mean=[79.6, 79.6, 79.6],
    std=[90.8, 90.8, 90.8],
    to_rgb=True,  # images are loaded as BGR; mean and std are RGB
)
# A black pixel after normalising: what in-model masking fills with.
black = [-m / s for m, s in zip(data_preprocessor['mean'], data_preprocessor['std'], strict=True)]

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=3),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root='data/digits', data_prefix='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root='data/digits', data_prefix='val', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(32, 32)), dict(type='Resize', scale=(36, 36))],
            [dict(type='CenterCrop', crop_size=32)],
            [dict(type='PackInputs')],
        ],
    ),
]
