# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain network, same recipe.
#
# Measured: Top-1 (%) 70.33 ± 0.24, Top-5 (%) 97.68 ± 0.04; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/maskany/resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
