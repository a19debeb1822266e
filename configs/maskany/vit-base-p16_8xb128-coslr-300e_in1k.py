# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain ViT-B/16, and the recipe of all of them, which is mmpretrain's deit-base_16xb64_in1k: DeiT's, made for
# ImageNet-1k alone and for 1024 images a step. AdamW, 300 epochs, RandAugment, random erasing, mixup, CutMix, label
# smoothing, EMA. lr = 1e-3 for 8 x 128 images a step.
_base_ = [
    'mmpretrain::_base_/models/deit3/deit3-base-p16-224.py',  # DeiT's head, initialisation and batch augmentation
    '../_base_/datasets/imagenet_bs128_swin.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(type='VisionTransformer', arch='base', drop_path_rate=0.1))

optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)}),
    clip_grad=dict(max_norm=5.0),
)
custom_hooks = [dict(type='EMAHook', momentum=4e-5, priority='ABOVE_NORMAL')]
