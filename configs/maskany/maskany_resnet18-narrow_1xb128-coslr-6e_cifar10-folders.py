# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# All variants on real CIFAR-10 as far as two CPU cores go: a narrow ResNet-18, six epochs; README.md has the command.
#
# Measured: Top-1 (%) 69.68 ± 0.42, Top-5 (%) 97.74 ± 0.23; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10 --jobs 2 --seeds 0 1 --configs \
#         configs/maskany/maskany_resnet18-narrow_1xb128-coslr-6e_cifar10-folders.py
_base_ = [
    '../_base_/models/maskany_resnet18_cifar.py',
    '../_base_/datasets/cifar10-folders_bs128.py',
    '../_base_/schedules/small-images_bs128_coslr-6e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        backbone=dict(stem_channels=16, base_channels=16, strides=(2, 2, 2, 2)),
        masking=dict(
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[
                    dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=1),
                    dict(type='mmmaskany.PatchPattern', scale=0.5, base=1),
                ],
                probs=[0.1, 0.3],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        ),
    ),
    head=dict(in_channels=128),
)
