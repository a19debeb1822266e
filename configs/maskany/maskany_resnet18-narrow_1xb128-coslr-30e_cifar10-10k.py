# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The variants of the comparison on 10,000 images of CIFAR-10: a narrow ResNet-18 and the mixture of the digits.
#
# Measured: Top-1 (%) 67.76 ± 0.56, Top-5 (%) 97.33 ± 0.13; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/maskany/maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py
_base_ = [
    '../_base_/models/maskany_resnet18_cifar.py',
    '../_base_/datasets/cifar10-10k_bs128.py',
    '../_base_/schedules/small-images_bs128_coslr-30e.py',
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
                    dict(type='mmmaskany.RandomPattern', scale=0.5, cell=[8, 4, 2], base=1),
                ],
                probs=[0.1, 0.2, 0.1],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        ),
    ),
    head=dict(in_channels=128),
)
