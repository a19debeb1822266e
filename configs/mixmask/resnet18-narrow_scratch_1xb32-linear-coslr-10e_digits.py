# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Linear probe of random weights: what the backbone of the other probes is worth without pre-training.
#
# Measured: Top-1 (%) 47.04 ± 4.89, Top-5 (%) 92.02 ± 1.72; 1 CPU core, 3 seeds, by
#
#     python tools/benchmarks/digits_mixmask.py work_dirs/digits_mixmask --twins --frameworks mocov2 simsiam \
#         --seeds 0 1 2 --jobs 2
_base_ = [
    '../_base_/datasets/digits_bs32.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/digits_bs32_linear-coslr-10e.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=18,
        stem_channels=16,
        base_channels=16,
        strides=(2, 2, 2, 2),
        frozen_stages=4,
    ),
    # Standardises the features: those of random weights have a scale that no one rate would suit.
    neck=[dict(type='GlobalAveragePooling'), dict(type='ClsBatchNormNeck', input_features=128)],
    head=dict(type='LinearClsHead', num_classes=10, in_channels=128, loss=dict(type='CrossEntropyLoss'), topk=(1, 5)),
)
# One line an epoch of 46 steps, over all of them.
default_hooks = dict(logger=dict(interval=46))
log_processor = dict(window_size=46)
