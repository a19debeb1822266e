# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ViT-L fine-tuned from MAE, the plain twin: mmpretrain's own recipe, from its own 1600 epochs of pre-training.
_base_ = 'mmpretrain::mae/benchmarks/vit-large-p16_8xb128-coslr-50e_in1k.py'
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

mae = (
    'https://download.openmmlab.com/mmselfsup/1.x/mae/mae_vit-large-p16_8xb512-fp16-coslr-1600e_in1k/'
    'mae_vit-large-p16_8xb512-fp16-coslr-1600e_in1k_20220825-cc7e98c9.pth'
)
model = dict(backbone=dict(init_cfg=dict(checkpoint=mae)))

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook'))
