# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ResNet-50 on ImageNet-1k, the plain twin: "ResNet strikes back", recipe A2 (arXiv 2110.00476): LAMB, binary cross
# entropy, mixup 0.1, cutmix 1.0, RandAugment 7, repeated augmentation. mmpretrain's own config of it differs from
# timm's, which MaskSub trains, in four things, and these are timm's here: the loss is averaged over the classes, which
# matters as LAMB clips its gradients; BN, not SyncBN; the rate rises from 1e-4; RandAugment's operations are not those
# that only grow stronger (rand-m7-mstd0.5, without `inc`).
_base_ = 'mmpretrain::resnet/resnet50_8xb256-rsb-a2-300e_in1k.py'
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    backbone=dict(norm_cfg=dict(type='BN')),
    head=dict(loss=dict(loss_weight=1 / 1000)),
)

# timm's operations at a level from 0 to 10, by the range that level 0 and level 10 stand for.
operations = [
    dict(type='AutoContrast'),
    dict(type='Equalize'),
    dict(type='Invert'),
    dict(type='Rotate', magnitude_range=(0, 30)),
    dict(type='Posterize', magnitude_range=(0, 4)),
    dict(type='Solarize', magnitude_range=(0, 256)),
    dict(type='SolarizeAdd', magnitude_range=(0, 110)),
    *(
        dict(type=kind, magnitude_range=(-0.9, 0.9), random_negative_prob=0.0)
        for kind in ('ColorTransform', 'Contrast', 'Brightness', 'Sharpness')
    ),
    *(
        dict(type=kind, magnitude_range=(0, most), direction=direction)
        for kind, most in (('Shear', 0.3), ('Translate', 0.45))
        for direction in ('horizontal', 'vertical')
    ),
]
train_pipeline = [
    dict(step, policies=operations) if step['type'] == 'RandAugment' else step for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

param_scheduler = [dict(_base_.param_scheduler[0], start_factor=1e-4 / 5e-3), _base_.param_scheduler[1]]

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
