# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18, same recipe.
#
# Measured: Top-1 (%) 74.49 ± 1.36, Top-5 (%) 98.50 ± 0.17; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10 --jobs 2 --seeds 0 1 --configs \
#         configs/maskany/resnet18-narrow_1xb128-coslr-6e_cifar10-folders.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-6e_cifar10-folders.py'

model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
