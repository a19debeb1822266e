# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain DeiT-III-S, and the recipe of all of them. Model and data are those of mmpretrain's
# deit3-small-p16_64xb64_in1k, which is tested at 224 px without a border; its rate, 1e-5, only fine-tunes. So the
# schedule is that of mmpretrain's deit-small_4xb256_in1k, the same network but for class token and layer scale: AdamW,
# 300 epochs, lr = 1e-3 for 8 x 128 images a step.
_base_ = [
    'mmpretrain::_base_/models/deit3/deit3-small-p16-224.py',
    '../_base_/datasets/imagenet_bs128_swin.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(type='mmmaskany.DeiT3'))  # mmpretrain's computes another function

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=224, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]

optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)}),
    clip_grad=dict(max_norm=5.0),
)
