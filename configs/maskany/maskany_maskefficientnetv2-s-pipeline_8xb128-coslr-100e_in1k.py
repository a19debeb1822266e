# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# The masks of the paper's code, made in the data pipeline in its order: on the image as loaded, before the visible view
# is cropped or resized; the reused view of unmasked samples gets AutoAugment.
_base_ = ['./maskany_maskefficientnetv2-s_8xb128-coslr-100e_in1k.py', '../_base_/reference_patterns.py']

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmmaskany.MaskRegions', pattern=_base_.reference_patterns.in1k),
    *_base_.train_pipeline[1:-1],
    dict(type='mmmaskany.AugmentReused', policy='imagenet'),
    dict(type='mmmaskany.PackMaskAnyInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
data_preprocessor = dict(type='mmmaskany.MaskAnyDataPreprocessor')
model = dict(backbone=dict(masking=None))
