# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# mmpretrain's Cutout of the plain network as published for CIFAR-10 (arXiv 1708.04552): a square of
# 16 px of the mean colour (BGR) in every image.
#
# Measured: Top-1 (%) 52.61 ± 0.33, Top-5 (%) 92.26 ± 0.04; 1 CPU core, 2 seeds, four minutes each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/harness --seeds 0 1 --configs \
#         configs/masking/cutout_resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py
_base_ = '../maskany/resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py'

train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(type='Cutout', shape=16, pad_val=(114, 123, 125), prob=1.0),
    _base_.train_pipeline[-1],
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
