# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin of MaskMix: mmpretrain's own CutMix, in four batches of ten.
#
# Measured: Top-1 (%) 69.81 ± 0.18, Top-5 (%) 97.57 ± 0.07; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/masking/cutmix_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py
_base_ = '../maskany/resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=0.4))
