# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ResNet-50 on ImageNet-1k, the plain twin: mmpretrain's own config of "ResNet strikes back", recipe A2 (arXiv
# 2110.00476): LAMB, binary cross entropy, mixup 0.1, cutmix 1.0, RandAugment 7, repeated augmentation.
_base_ = 'mmpretrain::resnet/resnet50_8xb256-rsb-a2-300e_in1k.py'
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
