# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub on real digits: in the sub-branch half of the cells of 8 px are the mean colour. The plain twin is
# configs/maskany/resnet18-narrow_1xb32-coslr-8e_digits.py.
#
#     python tools/dataset_converters/digits.py
#     python tools/train.py configs/masksub/masksub_resnet18-narrow_1xb32-coslr-8e_digits.py
#
# Measured: Top-1 (%) 98.78 ± 0.59, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_guided --seeds 0 1 2 --configs \
#         configs/masksub/masksub_resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = '../maskany/resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8)
    ),
    sub_norm='update',
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
