# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# Twin: the same network and recipe, nothing masked.
#
# Measured: Top-1 (%) 69.07 ± 0.01, Top-5 (%) 97.51 ± 0.04; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/maskany/maskany_resnet18-narrow-unmasked_1xb128-coslr-30e_cifar10-10k.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(backbone=dict(masking=None))
