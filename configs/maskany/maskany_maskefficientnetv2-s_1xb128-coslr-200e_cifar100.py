# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskEfficientNetV2-S on CIFAR-100.
_base_ = './efficientnetv2-s_1xb128-coslr-200e_cifar100.py'

model = dict(
    backbone=dict(
        type='mmmaskany.MaskEfficientNetV2',
        masking=dict(
            # The reference's mixture for CIFAR-100, grid 0.1 + patch 0.3 + random 0.0. Its cells are of 32-px images;
            # here, after enlarging, they are four times as large.
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[
                    dict(type='mmmaskany.GridPattern', scale=0.5, cell=[16, 32, 64], base=4),
                    dict(type='mmmaskany.PatchPattern', scale=0.5, base=4),
                ],
                probs=[0.1, 0.3],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        ),
    )
)
