# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: Faster R-CNN R50-C4 on VOC07+12 from MoCo v2: mmdet's own recipe of 18,000 steps made 24,000, with what is usual
# from self-supervised weights: nothing frozen, SyncBN, also behind the shared head. VOC07's test set is the validation.
_base_ = 'mmdet::pascal_voc/faster-rcnn_r50-caffe-c4_ms-18k_voc0712.py'
custom_imports = dict(imports=['mmpretrain.models.utils.res_layer_extra_norm', 'mmmaskany'], allow_failed_imports=False)

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    # As in pre-training: the mean and std of ImageNet in RGB.
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mocov2_resnet50_8xb32-coslr-200e_in1k/epoch_200.pth',
            prefix='backbone.',
        ),
    ),
    roi_head=dict(
        shared_head=dict(type='ResLayerExtraNorm', norm_cfg=norm_cfg, norm_eval=False, style='pytorch', init_cfg=None)
    ),
)

# The paper's 24,000 steps; the rate drops where MoCo's does, at 3/4 and 11/12 of them.
train_cfg = dict(max_iters=24000, val_interval=4000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', begin=0, end=24000, by_epoch=False, milestones=[18000, 22000], gamma=0.1),
]

default_hooks = dict(
    checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', by_epoch=False, interval=4000, max_keep_ckpts=3)
)
# What is drawn at a step or for a sample follows from this seed, so that every run can be repeated and resumed.
randomness = dict(seed=0, deterministic=False)
