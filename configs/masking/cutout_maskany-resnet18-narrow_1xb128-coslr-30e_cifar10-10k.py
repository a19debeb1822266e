# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Cutout: one black rectangle, a quarter of the image, in four images of ten, and what it hides is lost.
#
# Measured: Top-1 (%) 67.38 ± 0.52, Top-5 (%) 97.31 ± 0.04; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/masking/cutout_maskany-resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py
_base_ = '../maskany/maskany_resnet18-narrow-patch_1xb128-coslr-30e_cifar10-10k.py'

model = dict(backbone=dict(masking=dict(reuse=False)))
