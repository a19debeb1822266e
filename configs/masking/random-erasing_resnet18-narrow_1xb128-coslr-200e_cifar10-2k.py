# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# mmpretrain's Random Erasing of the plain network as published for CIFAR-10 (arXiv 1708.04896): a rectangle of 2 to 40
# % in every second image, filled with noise.
#
# Measured: Top-1 (%) 54.90 ± 1.97, Top-5 (%) 93.09 ± 0.47; 1 CPU core, 2 seeds, four minutes each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/harness --seeds 0 1 --configs \
#         configs/masking/random-erasing_resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py
_base_ = '../maskany/resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py'

train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(
        type='RandomErasing',
        erase_prob=0.5,
        min_area_ratio=0.02,
        max_area_ratio=0.4,
        aspect_range=(0.3, 1 / 0.3),
        mode='rand',
    ),
    _base_.train_pipeline[-1],
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
