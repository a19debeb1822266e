# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# A short recipe on CIFAR-10 as image files, for comparing the variants with several seeds.
_base_ = [
    '../_base_/models/maskany_resnet18_cifar.py',
    '../_base_/datasets/cifar10-folders_bs128.py',
    '../_base_/schedules/small-images_bs128_coslr-30e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[
                    dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=1),
                ],
                probs=[0.2],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        )
    )
)
