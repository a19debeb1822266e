# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: masked in fine-tuning too, as in pre-training. mmdet freezes the stem, which would keep the reused stem from
# learning from it, so here nothing is frozen.
_base_ = ['./faster-rcnn_maskany-r50_fpn_1x_coco.py', '../_base_/in1k_masking.py']

# Black before normalising, in the units of the normalised image.
black = [-m / s for m, s in zip(_base_.model.data_preprocessor.mean, _base_.model.data_preprocessor.std, strict=True)]
model = dict(
    backbone=dict(
        backbone=dict(frozen_stages=-1),
        masking=dict(_base_.in1k_masking, fill=dict(type='mmmaskany.ConstantFill', value=black)),
    )
)
