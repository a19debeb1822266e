# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ViT, same recipe.
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
