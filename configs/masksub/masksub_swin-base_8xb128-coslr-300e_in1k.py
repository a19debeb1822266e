# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub: in the sub-branch of Swin-B a learned token stands for half of the cells of 32 px, 8 x 8 patches each.
_base_ = '../maskany/swin-base_8xb128-coslr-300e_in1k.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.ReplacePatches', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=32, base=32)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
