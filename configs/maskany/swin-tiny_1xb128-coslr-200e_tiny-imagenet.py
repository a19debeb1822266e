# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain Swin-T, and the recipe of all of them. The usual patches of 4 px make of 64 px maps of 16, 8, 4 and 2,
# which windows of 4 x 4, and 2 x 2 in the last stage, divide; those of 7 x 7 would not fit. Mixup, CutMix and label
# smoothing are those of Swin's recipe on ImageNet.
_base_ = [
    'mmpretrain::_base_/models/swin_transformer/tiny_224.py',
    '../_base_/datasets/tiny-imagenet_bs128.py',
    '../_base_/schedules/small-images_bs128_adamw-coslr-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(img_size=64, window_size=4, stage_cfgs=[{}, {}, {}, dict(window_size=2)]),
    head=dict(num_classes=200),
)
