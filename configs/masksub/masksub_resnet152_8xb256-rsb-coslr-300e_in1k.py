# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub: in the sub-branch of ResNet-152 half of the cells of 32 px are 0 after normalising, the mean colour.
_base_ = './resnet152_8xb256-rsb-coslr-300e_in1k.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=32, base=32)
    ),
    sub_norm='update',
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
