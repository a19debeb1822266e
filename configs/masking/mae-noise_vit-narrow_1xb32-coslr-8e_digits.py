# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ColorMAE: mmpretrain's own MAE, with green noise in place of its random tokens; three of four are dropped.
_base_ = [
    '../_base_/datasets/digits_bs32_selfsup.py',
    '../_base_/schedules/digits_bs32_adamw-coslr-8e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='MAE',
    backbone=dict(
        type='mmmaskany.PatternMAEViT',
        arch=dict(embed_dims=64, num_layers=4, num_heads=4, feedforward_channels=256),
        img_size=32,
        patch_size=4,
        # `base` is the side of a patch.
        pattern=dict(type='mmmaskany.NoisePattern', color='green', ratio=0.75, cell=4, base=4),
    ),
    neck=dict(
        type='MAEPretrainDecoder',
        num_patches=8 * 8,
        patch_size=4,
        embed_dim=64,
        decoder_embed_dim=32,
        decoder_depth=2,
        decoder_num_heads=4,
    ),
    head=dict(
        type='MAEPretrainHead',
        norm_pix=False,  # much of a digit is black all over
        patch_size=4,
        loss=dict(type='PixelReconstructionLoss', criterion='L2'),
    ),
)
default_hooks = dict(logger=dict(interval=46))
log_processor = dict(window_size=46)
