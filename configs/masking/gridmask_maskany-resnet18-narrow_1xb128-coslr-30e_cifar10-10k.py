# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# GridMask: black cells at a regular distance, a quarter of four images in ten, and what they hide is lost.
#
# Measured: Top-1 (%) 67.87 ± 0.38, Top-5 (%) 97.35 ± 0.04; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/masking/gridmask_maskany-resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py
_base_ = '../maskany/maskany_resnet18-narrow-grid_1xb128-coslr-30e_cifar10-10k.py'

model = dict(backbone=dict(masking=dict(reuse=False)))
