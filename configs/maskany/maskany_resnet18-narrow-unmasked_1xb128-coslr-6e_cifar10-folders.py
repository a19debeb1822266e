# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# Twin: the same network and recipe, nothing masked.
#
# Measured: Top-1 (%) 72.99 ± 0.12, Top-5 (%) 98.25 ± 0.19; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10 --jobs 2 --seeds 0 1 --configs \
#         configs/maskany/maskany_resnet18-narrow-unmasked_1xb128-coslr-6e_cifar10-folders.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-6e_cifar10-folders.py'

model = dict(backbone=dict(masking=None))
