# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# The same masks made in the data pipeline, in the reference's order: on the image as loaded, before the visible view is
# cropped or resized; the reused view of unmasked samples gets AutoAugment.
#
# Measured: Top-1 (%) 98.78 ± 0.59, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/maskany/maskany_resnet18-narrow-pipeline_1xb32-coslr-8e_digits.py
_base_ = './maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmmaskany.MaskRegions', pattern=_base_.model.backbone.masking.pattern),
    *_base_.train_pipeline[1:-1],
    dict(type='mmmaskany.AugmentReused', policy='svhn'),
    dict(type='mmmaskany.PackMaskAnyInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
data_preprocessor = dict(type='mmmaskany.MaskAnyDataPreprocessor')
model = dict(backbone=dict(masking=None))
