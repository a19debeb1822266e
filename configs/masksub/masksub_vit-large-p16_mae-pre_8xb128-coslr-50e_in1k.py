# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub in fine-tuning from MAE: the sub-branch of ViT-L drops half of the patch tokens.
_base_ = './vit-large-p16_mae-pre_8xb128-coslr-50e_in1k.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.DropTokens', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=16, base=16)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
