# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain ConvNeXt-T, and the recipe of all of them, which is mmpretrain's convnext-tiny_32xb128_in1k: AdamW,
# 300 epochs, RandAugment, random erasing, mixup, CutMix, label smoothing, EMA; with a quarter of its images a step, so
# that rate and momentum of the averaged weights are a quarter, too.
_base_ = [
    'mmpretrain::_base_/models/convnext/convnext-tiny.py',
    '../_base_/datasets/imagenet_bs128_swin.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/default_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=4e-3 * 1024 / 4096))
custom_hooks = [dict(type='EMAHook', momentum=1e-4 * 1024 / 4096, priority='ABOVE_NORMAL')]
