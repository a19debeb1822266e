# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Semantic FPN on 100 real images from a classifier that was trained on CIFAR-10, as far as two CPU cores go; README.md
# has the commands.
_base_ = [
    '../_base_/models/maskany-r18-narrow_sem-fpn.py',
    '../_base_/datasets/stuffthing_bs4_128.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/stuffthing_bs4_coslr-600.py',
]
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/maskany_resnet18-narrow_1xb128-coslr-6e_cifar10-folders/epoch_6.pth',
            prefix='backbone.',
        )
    ),
    decode_head=dict(num_classes=200),
)

randomness = dict(seed=0, deterministic=False)
