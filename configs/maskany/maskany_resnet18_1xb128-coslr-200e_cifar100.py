# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
_base_ = [
    '../_base_/models/maskany_resnet18_cifar.py',
    '../_base_/datasets/cifar100_bs128.py',
    '../_base_/schedules/small-images_bs128_coslr-200e.py',
    '../_base_/default_runtime.py',
    '../_base_/cifar100_masking.py',
]

model = dict(
    backbone=dict(
        masking=dict(_base_.cifar100_masking, fill=dict(type='mmmaskany.ConstantFill', value=_base_.black)),
    ),
    head=dict(num_classes=100),
)
