# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain EfficientNetV2-S, and the recipe of all of them: mmpretrain's network, with the drop path, the image
# statistics and the 224 px of the paper's code, where mmpretrain's own config has no drop path, -1 .. 1 and 300 to 384
# px. The schedule is that of this project's ResNets: SGD, 100 epochs, a cosine instead of steps, lr = 0.1 * batch /
# 256.
_base_ = [
    'mmpretrain::_base_/models/efficientnet_v2/efficientnetv2_s.py',
    '../_base_/datasets/imagenet_bs128.py',
    '../_base_/schedules/imagenet_bs1024_coslr-100e.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(drop_path_rate=0.2))
