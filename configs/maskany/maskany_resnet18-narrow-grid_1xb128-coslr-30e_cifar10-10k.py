# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# One pattern, a grid of cells, in place of the mixture, in as many images.
#
# Measured: Top-1 (%) 67.26 ± 0.02, Top-5 (%) 97.24 ± 0.05; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/maskany/maskany_resnet18-narrow-grid_1xb128-coslr-30e_cifar10-10k.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(
    backbone=dict(
        masking=dict(pattern=dict(patterns=[_base_.model.backbone.masking.pattern.patterns[0]], probs=[0.4])),
    ),
)
