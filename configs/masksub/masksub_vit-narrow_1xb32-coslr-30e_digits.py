# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub around a narrow ViT on real digits: the sub-branch drops half of the tokens, and is not calculated for them.
# The plain twin is vit-narrow_1xb32-coslr-30e_digits.py.
#
#     python tools/dataset_converters/digits.py
#     python tools/train.py configs/masksub/masksub_vit-narrow_1xb32-coslr-30e_digits.py
#
# Measured: Top-1 (%) 98.97 ± 0.33, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, two to six minutes each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_attention --seeds 0 1 2 --configs \
#         configs/masksub/masksub_vit-narrow_1xb32-coslr-30e_digits.py
_base_ = './vit-narrow_1xb32-coslr-30e_digits.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.DropTokens', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=4, base=4)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
