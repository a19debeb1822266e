# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: SimSiam itself on the digits, with two layers in the projection.
_base_ = [
    '../_base_/datasets/digits_bs64_views.py',
    '../_base_/schedules/digits_bs64_coslr-15e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='SimSiam',
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=16, base_channels=16, strides=(2, 2, 2, 2)),
    neck=dict(
        type='NonLinearNeck',
        in_channels=128,
        hid_channels=64,
        out_channels=64,
        num_layers=2,
        with_last_bn_affine=False,
        with_avg_pool=True,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(
        type='LatentPredictHead',
        loss=dict(type='CosineSimilarityLoss'),
        predictor=dict(
            type='NonLinearNeck',
            in_channels=64,
            hid_channels=32,
            out_channels=64,
            with_avg_pool=False,
            with_last_bn=False,
            with_last_bias=True,
            norm_cfg=dict(type='BN1d'),
        ),
    ),
)

# The predictor keeps its rate, as in mmpretrain's SimSiam.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(predictor=dict(fix_lr=True))))
custom_hooks = [
    dict(
        type='SimSiamHook',
        priority='HIGH',
        fix_pred_lr=True,
        lr=_base_.optim_wrapper.optimizer.lr,
        adjust_by_epoch=False,
    )
]
# One line an epoch of 22 steps, over all of them.
default_hooks = dict(logger=dict(interval=22))
log_processor = dict(window_size=22)
