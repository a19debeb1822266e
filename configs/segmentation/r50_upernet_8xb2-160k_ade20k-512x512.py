# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K, the plain twin: mmseg's own recipe, with 8 x 2 images a step instead of 4 x 4, and with the
# ResNet-50 of the classifier trained here, whose stem is one 7 x 7 convolution, instead of ResNetV1c's three.
_base_ = ['mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py', '../_base_/pretrained_r50.py']
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    pretrained=None,
    backbone=dict(type='ResNet', init_cfg=_base_.pretrained.resnet50),
)

train_dataloader = dict(batch_size=2)
default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
# tools/train.py --auto-scale-lr: lr = 0.01 * (GPUs * batch per GPU * accumulation) / 16
auto_scale_lr = dict(enable=False, base_batch_size=16)
