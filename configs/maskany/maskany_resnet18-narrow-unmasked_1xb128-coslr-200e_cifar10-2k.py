# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# Twin: the same network and recipe, nothing masked.
#
# Measured: Top-1 (%) 52.47 ± 0.72, Top-5 (%) 91.82 ± 0.49; 1 CPU core, 3 seeds, a quarter of an hour each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/harness --seeds 0 1 2 --configs \
#         configs/maskany/maskany_resnet18-narrow-unmasked_1xb128-coslr-200e_cifar10-2k.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py'

model = dict(backbone=dict(masking=None))
