# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskAny around mmpretrain's ResNet-50. Masking is off; the configs say what is masked.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmmaskany.MaskAny',
        backbone=dict(type='mmpretrain.ResNet', depth=50),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
