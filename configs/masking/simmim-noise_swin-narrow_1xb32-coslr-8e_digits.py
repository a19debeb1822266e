# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# mmpretrain's own SimMIM, with blue noise in place of its random cells.
_base_ = [
    '../_base_/datasets/digits_bs32_selfsup.py',
    '../_base_/schedules/digits_bs32_adamw-coslr-8e.py',
    '../_base_/default_runtime.py',
]

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=32, padding=3),
    # `base` is the side of a token.
    dict(
        type='mmmaskany.PatternMask',
        pattern=dict(type='mmmaskany.NoisePattern', color='blue', ratio=0.6, cell=4, base=2),
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

model = dict(
    type='SimMIM',
    backbone=dict(
        type='SimMIMSwinTransformer',
        arch=dict(embed_dims=32, depths=[2, 2], num_heads=[2, 4]),
        img_size=32,
        patch_cfg=dict(kernel_size=2, stride=2),
        out_indices=(1,),
        stage_cfgs=dict(block_cfgs=dict(window_size=4)),
    ),
    neck=dict(type='SimMIMLinearDecoder', in_channels=64, encoder_stride=4),
    head=dict(type='SimMIMHead', patch_size=2, loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3)),
)
default_hooks = dict(logger=dict(interval=46))
log_processor = dict(window_size=46)
