# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskSwin-T on CIFAR-100: patches of 2 px of the visible image, single pixels of the reused one.
_base_ = ['./swin-tiny_1xb128-coslr-200e_cifar100.py', '../_base_/cifar100_masking.py']

model = dict(
    backbone=dict(
        type='mmmaskany.MaskSwinTransformer',
        drop_path_rate=0.1,  # the paper's; the plain Swin-T has 0.2
        masking=dict(_base_.cifar100_masking, fill=dict(type='mmmaskany.ConstantFill', value=_base_.black)),
    )
)
