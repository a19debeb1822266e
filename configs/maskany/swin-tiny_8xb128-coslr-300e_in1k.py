# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain Swin-T, and the recipe of all of them, which is mmpretrain's swin-tiny_16xb64_in1k: AdamW, 300 epochs,
# RandAugment, random erasing, mixup, CutMix, label smoothing. lr = 1e-3 for 8 x 128 images a step.
_base_ = [
    'mmpretrain::_base_/models/swin_transformer/tiny_224.py',
    '../_base_/datasets/imagenet_bs128_swin.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/default_runtime.py',
]

optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
