# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: mmpretrain's linear probe of what MoCo v2 learned from ImageNet.
_base_ = 'mmpretrain::mocov2/benchmarks/resnet50_8xb32-linear-steplr-100e_in1k.py'
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mocov2_resnet50_8xb32-coslr-200e_in1k/epoch_200.pth',
            prefix='backbone.',
        )
    )
)

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', interval=10, max_keep_ckpts=3))
# What is drawn at a step or for a sample follows from this seed, so that every run can be repeated and resumed.
randomness = dict(seed=0, deterministic=False)
# tools/train.py --auto-scale-lr: lr = 30 * (GPUs * batch per GPU * accumulation) / 256
auto_scale_lr = dict(enable=False, base_batch_size=256)
