# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ViT, same recipe.
#
# Measured: Top-1 (%) 96.81 ± 0.16, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, two to six minutes each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_attention --seeds 0 1 2 --configs \
#         configs/masksub/vit-narrow_1xb32-coslr-30e_digits.py
_base_ = [
    '../_base_/datasets/digits_bs32.py',
    '../_base_/schedules/digits_bs32_adamw-coslr-30e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=64, num_layers=4, num_heads=4, feedforward_channels=256),
        img_size=32,
        patch_size=4,
    ),
    neck=None,
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=10,
        in_channels=64,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
# One line an epoch of 46 steps, over all of them.
default_hooks = dict(logger=dict(interval=46))
log_processor = dict(window_size=46)
