# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: SimSiam itself on CIFAR-100, with two layers in the projection as in its CIFAR-10 recipe.
_base_ = [
    '../_base_/datasets/cifar100_bs512_views.py',
    '../_base_/schedules/small-images_bs512_coslr-200e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='SimSiam',
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18),
    neck=dict(
        type='NonLinearNeck',
        in_channels=512,
        hid_channels=2048,
        out_channels=2048,
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
            in_channels=2048,
            hid_channels=512,
            out_channels=2048,
            with_avg_pool=False,
            with_last_bn=False,
            with_last_bias=True,
            norm_cfg=dict(type='BN1d'),
        ),
    ),
)

# The predictor keeps its rate, as in mmpretrain's SimSiam.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(predictor=dict(fix_lr=True))))
custom_hooks = [dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=_base_.optim_wrapper.optimizer.lr)]
