# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Linear probe of what SimSiam learned from CIFAR-100 itself.
_base_ = './resnet18_scratch_1xb256-linear-coslr-100e_cifar100.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/simsiam_resnet18_1xb512-coslr-200e_cifar100/epoch_200.pth',
            prefix='backbone.',
        )
    )
)
