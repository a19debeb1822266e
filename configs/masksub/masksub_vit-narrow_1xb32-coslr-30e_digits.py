# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub around a narrow ViT on real digits: the sub-branch drops half of the tokens, and is not calculated for them.
# The plain twin is vit-narrow_1xb32-coslr-30e_digits.py.
#
#     python tools/dataset_converters/digits.py
#     python tools/train.py configs/masksub/masksub_vit-narrow_1xb32-coslr-30e_digits.py
_base_ = './vit-narrow_1xb32-coslr-30e_digits.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.DropTokens', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=4, base=4)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
