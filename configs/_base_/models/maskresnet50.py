# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskResNet-50. Masking is off; the configs say what is masked.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmmaskany.MaskResNet', depth=50),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        init_cfg=None,  # PyTorch's start values, as the paper's
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
