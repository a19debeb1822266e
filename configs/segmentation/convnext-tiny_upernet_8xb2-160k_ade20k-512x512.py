# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K, the plain twin: mmseg's own recipe for ConvNeXt-T, only it starts from the plain classifier trained
# here, and mixed precision is left to --amp.
_base_ = ['mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py', '../_base_/classifiers.py']
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=_base_.classifiers['convnext-tiny']))

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=_base_.optim_wrapper.optimizer,
    paramwise_cfg=_base_.optim_wrapper.paramwise_cfg,
    constructor=_base_.optim_wrapper.constructor,
)
default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
# tools/train.py --auto-scale-lr: lr = 1e-4 * (GPUs * batch per GPU * accumulation) / 16
auto_scale_lr = dict(enable=False, base_batch_size=16)
