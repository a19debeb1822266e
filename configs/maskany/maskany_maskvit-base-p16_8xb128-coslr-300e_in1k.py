# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskViT-B/16 on ImageNet-1k: patches of 16 px of the visible image, of 8 px of the reused one. As in
# the paper's code, and unlike the plain twin, there is no drop path, and the head does not start from 0.
_base_ = ['./vit-base-p16_8xb128-coslr-300e_in1k.py', '../_base_/in1k_masking.py']

model = dict(
    backbone=dict(
        type='mmmaskany.MaskVisionTransformer',
        drop_path_rate=0.0,
        masking=dict(_base_.in1k_masking, fill=dict(type='mmmaskany.ConstantFill', value=_base_.black)),
    ),
    head=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01)),
)
