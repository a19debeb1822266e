# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask2Former on ADE20K, the plain twin: mmseg's own recipe, only its ResNet-50 starts from the plain classifier trained
# here. Its head is made of mmdet's parts.
_base_ = ['mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py', '../_base_/pretrained_r50.py']
custom_imports = dict(imports=['mmdet.models', 'mmmaskany'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=_base_.pretrained.resnet50))

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
