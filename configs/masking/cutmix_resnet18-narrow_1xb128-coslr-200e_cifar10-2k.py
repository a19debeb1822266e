# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# mmpretrain's CutMix of the plain network as published for CIFAR (arXiv 1905.04899): alpha 1, in every second batch.
#
# Measured: Top-1 (%) 58.05 ± 1.01, Top-5 (%) 93.42 ± 0.19; 1 CPU core, 3 seeds, four minutes each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/harness --seeds 0 1 2 --configs \
#         configs/masking/cutmix_resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py
_base_ = '../maskany/resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=0.5))
