# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask2Former on ADE20K with the paper's MaskResNet-50. Masking is off: the reused stem sees the whole image at half
# size.
_base_ = './r50_mask2former_8xb2-160k_ade20k-512x512.py'

# All of mmseg's arguments but `deep_stem`, which MaskResNet has of its own.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=_base_.model.backbone.norm_cfg,
        style='pytorch',
        init_cfg=_base_.pretrained.maskresnet50,
    )
)
