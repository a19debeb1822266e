# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskResNet-34 on Tiny-ImageNet, as its code trains and tests it. Masks are drawn on the image of 64 px,
# grid 0.1 + patch 0.2 + random 0.1; then the visible view is resized to 224 px and the reused one to 112 px, each by
# PIL, bilinearly. The reused view of unmasked samples gets AutoAugment, of the policy for CIFAR-10. At test time the
# reused view is the image of 64 px resized to 112 px.
#
# What is unknown of the masks is said in _base_/reference_patterns.py, with what is otherwise on purpose; what is
# unknown of the schedule in the plain twin.
_base_ = ['./resnet34_1xb128-coslr-300e_tiny-imagenet-224px.py', '../_base_/reference_patterns.py']

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmmaskany.MaskRegions', pattern=_base_.reference_patterns.tiny_imagenet),
    dict(type='Resize', scale=224, interpolation='bilinear', backend='pillow'),
    dict(type='mmmaskany.AugmentReused', policy='cifar10'),
    dict(type='mmmaskany.PackMaskAnyInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmmaskany.MaskRegions', pattern=None),
    dict(type='Resize', scale=224, interpolation='bilinear', backend='pillow'),
    dict(type='mmmaskany.AugmentReused'),
    dict(type='mmmaskany.PackMaskAnyInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],  # of what both views are made of
            *[[step] for step in test_pipeline[1:]],
        ],
    ),
]
data_preprocessor = dict(type='mmmaskany.MaskAnyDataPreprocessor')
model = dict(backbone=dict(_delete_=True, type='mmmaskany.MaskResNet', depth=34))
