# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskAny and MaskSub together: the main branch reuses what it masks, and the sub-branch learns from it.
#
# Measured: Top-1 (%) 61.19, Top-5 (%) 95.93; 1 NVIDIA H200, shared by 15 runs, 1 seed, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 --configs \
#         configs/masksub/masksub_maskany-resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py
_base_ = '../maskany/maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(
    type='mmmaskany.MaskSubClassifier',
    sub_masking=dict(
        type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8)
    ),
    sub_norm='update',
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
