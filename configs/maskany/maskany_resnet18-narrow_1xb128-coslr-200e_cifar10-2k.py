# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The arms of the check of the harness: a narrow ResNet-18 that learns two thousand images by heart, and the mixture of
# the digits. Validated at the end alone, because the test data are five times the training data.
_base_ = [
    '../_base_/models/maskany_resnet18_cifar.py',
    '../_base_/datasets/cifar10-2k_bs128.py',
    '../_base_/schedules/small-images_bs128_coslr-200e.py',
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

train_cfg = dict(val_interval=200)
