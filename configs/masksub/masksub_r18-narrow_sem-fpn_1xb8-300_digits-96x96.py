# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub for Semantic FPN on scenes of digits: in the sub-branch half of the cells of 8 px are the mean colour. The
# plain twin is configs/segmentation/r18-narrow_sem-fpn_1xb8-300_digits-96x96.py.
_base_ = '../segmentation/r18-narrow_sem-fpn_1xb8-300_digits-96x96.py'

model = dict(
    type='mmmaskany.MaskSubSegmentor',
    sub_masking=dict(
        type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
