# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
_base_ = [
    '../_base_/models/maskany_resnet18_cifar.py',
    '../_base_/datasets/tiny-imagenet_bs128.py',
    '../_base_/schedules/small-images_bs128_coslr-100e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        masking=dict(
            # The reference's mixture for Tiny-ImageNet: grid 0.1 + patch 0.2 + random 0.1 (of 4 x 4, 8 x 8 or 16 x 16
            # cells).
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[
                    dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=2),
                    dict(type='mmmaskany.PatchPattern', scale=0.5, base=2),
                    dict(type='mmmaskany.RandomPattern', scale=0.5, cell=[16, 8, 4], base=2),
                ],
                probs=[0.1, 0.2, 0.1],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        )
    ),
    head=dict(num_classes=200),
)
