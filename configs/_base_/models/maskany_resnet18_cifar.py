# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskAny around the ResNet-18 for small images (3x3 stem of stride 1, no max pool). Masking is off; the configs say
# what is masked.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmmaskany.MaskAny',
        backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=512,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
