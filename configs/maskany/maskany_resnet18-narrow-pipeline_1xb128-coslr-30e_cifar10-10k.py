# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# The same masks made in the data pipeline, in the reference's order: on the image as loaded, before the visible view is
# cropped or resized; the reused view of unmasked samples gets AutoAugment.
#
# Measured: Top-1 (%) 65.73, Top-5 (%) 96.98; 1 NVIDIA H200, shared by 15 runs, 1 seed, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 --configs \
#         configs/maskany/maskany_resnet18-narrow-pipeline_1xb128-coslr-30e_cifar10-10k.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmmaskany.MaskRegions', pattern=_base_.model.backbone.masking.pattern),
    *_base_.train_pipeline[1:-1],
    dict(type='mmmaskany.AugmentReused', policy='cifar10'),
    dict(type='mmmaskany.PackMaskAnyInputs'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
data_preprocessor = dict(type='mmmaskany.MaskAnyDataPreprocessor')
model = dict(backbone=dict(masking=None))
