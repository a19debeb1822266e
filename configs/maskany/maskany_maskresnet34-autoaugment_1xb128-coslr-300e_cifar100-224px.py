# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Control: two stems, the reused view of all samples with AutoAugment, nothing masked: what of the gain is the
# augmentation's. The paper has no such variant.
_base_ = './maskany_maskresnet34-pipeline_1xb128-coslr-300e_cifar100-224px.py'

train_pipeline = [
    dict(type='mmmaskany.MaskRegions', pattern=None),
    dict(type='Resize', scale=224, interpolation='bilinear', backend='pillow'),
    dict(type='mmmaskany.AugmentReused', policy='cifar10', bgr=False),
    dict(type='mmmaskany.PackMaskAnyInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
