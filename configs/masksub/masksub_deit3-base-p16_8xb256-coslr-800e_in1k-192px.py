# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub: the sub-branch of DeiT III B drops half of the patch tokens.
_base_ = './deit3-base-p16_8xb256-coslr-800e_in1k-192px.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.DropTokens', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=16, base=16)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
