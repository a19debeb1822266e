# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: mmpretrain's own MoCo v2. Only colours are jittered by torchvision, because the hue of mmpretrain's own
# transform needs negative numbers that NumPy 2 refuses.
_base_ = 'mmpretrain::mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py'
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

view_pipeline = _base_.view_pipeline
view_pipeline[1]['transforms'] = [
    dict(type='NumpyToPIL', to_rgb=True),
    dict(type='torchvision/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    dict(type='PILToNumpy', to_bgr=True),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=2, transforms=[view_pipeline]),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
# What is drawn at a step or for a sample follows from this seed, so that every run can be repeated and resumed.
randomness = dict(seed=0, deterministic=False)
