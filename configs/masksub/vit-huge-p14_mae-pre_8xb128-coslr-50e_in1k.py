# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ViT-H fine-tuned from MAE, the plain twin: mmpretrain's own recipe, from its own 1600 epochs of pre-training.
_base_ = 'mmpretrain::mae/benchmarks/vit-huge-p14_8xb128-coslr-50e_in1k.py'
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

mae = (
    'https://download.openmmlab.com/mmselfsup/1.x/mae/mae_vit-huge-p16_8xb512-fp16-coslr-1600e_in1k/'
    'mae_vit-huge-p16_8xb512-fp16-coslr-1600e_in1k_20220916-ff848775.pth'
)
model = dict(backbone=dict(init_cfg=dict(checkpoint=mae)))

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook'))
