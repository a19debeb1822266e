# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain network, same recipe.
#
# Measured: Top-1 (%) 54.12 ± 1.00, Top-5 (%) 91.98 ± 0.28; 1 CPU core, 3 seeds, four minutes each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/harness --seeds 0 1 2 --configs \
#         configs/maskany/resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py'

model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
