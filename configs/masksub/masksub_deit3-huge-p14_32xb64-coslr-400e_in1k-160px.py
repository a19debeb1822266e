# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub: the sub-branch of DeiT III H drops half of the patch tokens.
_base_ = './deit3-huge-p14_32xb64-coslr-400e_in1k-160px.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.DropTokens', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=14, base=14)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
