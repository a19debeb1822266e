# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K with the paper's MaskSwin-T. Masking is off: the reused stem sees the whole image at half size.
_base_ = './swin-tiny_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        type='mmmaskany.MaskSwinTransformer',
        init_cfg=_base_.classifiers['maskany_maskswin-tiny'],
    )
)
