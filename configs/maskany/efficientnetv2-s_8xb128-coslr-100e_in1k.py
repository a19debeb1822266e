# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain EfficientNetV2-S, and the recipe of all of them. Model and data are those of mmpretrain's
# efficientnetv2-s_8xb32_in1k-384px. Its schedule is the plain one of mmpretrain's ResNets, and so here it is that of
# this project's: SGD, 100 epochs, a cosine instead of steps, lr = 0.1 * batch / 256.
_base_ = [
    'mmpretrain::_base_/models/efficientnet_v2/efficientnetv2_s.py',
    '../_base_/datasets/imagenet_bs128_efficientnetv2.py',
    '../_base_/schedules/imagenet_bs1024_coslr-100e.py',
    '../_base_/default_runtime.py',
]
