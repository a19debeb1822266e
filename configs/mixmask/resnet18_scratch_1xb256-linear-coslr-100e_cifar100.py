# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Linear probe of random weights: what the backbone of the other probes is worth without pre-training.
_base_ = [
    '../_base_/datasets/cifar100_bs128.py',
    '../_base_/schedules/small-images_bs256_linear-coslr-100e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, frozen_stages=4),
    # Standardises the features: those of random weights have a scale that no one rate would suit.
    neck=[dict(type='GlobalAveragePooling'), dict(type='ClsBatchNormNeck', input_features=512)],
    head=dict(type='LinearClsHead', num_classes=100, in_channels=512, loss=dict(type='CrossEntropyLoss'), topk=(1, 5)),
)
train_dataloader = dict(batch_size=256)
