# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# Twin: the same masks, but what they hide is lost (GridMask, Cutout): the reused view is the visible image at half
# size.
#
# Measured: Top-1 (%) 70.05 ± 0.65, Top-5 (%) 97.90 ± 0.02; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10 --jobs 2 --seeds 0 1 --configs \
#         configs/maskany/maskany_resnet18-narrow-noreuse_1xb128-coslr-6e_cifar10-folders.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-6e_cifar10-folders.py'

model = dict(backbone=dict(masking=dict(reuse=False)))
