# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskEfficientNetV2-S on Tiny-ImageNet.
_base_ = './efficientnetv2-s_1xb128-coslr-100e_tiny-imagenet.py'

model = dict(
    backbone=dict(
        type='mmmaskany.MaskEfficientNetV2',
        masking=dict(
            # The reference's mixture for Tiny-ImageNet, grid 0.1 + patch 0.2 + random 0.1. Its cells are of images of
            # 64 px; here, after enlarging, they are twice as large.
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[
                    dict(type='mmmaskany.GridPattern', scale=0.5, cell=[8, 16, 32], base=4),
                    dict(type='mmmaskany.PatchPattern', scale=0.5, base=4),
                    dict(type='mmmaskany.RandomPattern', scale=0.5, cell=[32, 16, 8], base=4),
                ],
                probs=[0.1, 0.2, 0.1],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        ),
    )
)
