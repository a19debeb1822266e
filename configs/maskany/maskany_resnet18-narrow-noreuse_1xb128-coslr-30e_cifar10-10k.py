# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# Twin: the same masks, but what they hide is lost (GridMask, Cutout): the reused view is the visible image at half
# size.
#
# Measured: Top-1 (%) 67.51 ± 0.06, Top-5 (%) 97.34 ± 0.18; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/maskany/maskany_resnet18-narrow-noreuse_1xb128-coslr-30e_cifar10-10k.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(backbone=dict(masking=dict(reuse=False)))
