# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: Mask R-CNN R50-FPN on COCO from MoCo v2. mmdet's own recipe with what is usual from self-supervised
# weights, as in mmpretrain's benchmark of BYOL: nothing frozen, SyncBN everywhere, several scales.
_base_ = 'mmpretrain::byol/benchmarks/mask-rcnn_r50_fpn_ms-1x_coco.py'
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

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
# What is drawn at a step or for a sample follows from this seed, so that every run can be repeated and resumed.
randomness = dict(seed=0, deterministic=False)
