# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The variants of the check of the harness: two thousand images of CIFAR-10, drawn once with a seed of their own, which
# a narrow ResNet-18 learns by heart in 200 epochs; with as many, gains of CutMix are published. All 10,000 test images,
# at the end alone.
#
# Measured: Top-1 (%) 51.38 ± 0.90, Top-5 (%) 91.37 ± 0.60; 1 CPU core, 3 seeds, a quarter of an hour each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/harness --seeds 0 1 2 --configs \
#         configs/maskany/maskany_resnet18-narrow_1xb128-coslr-200e_cifar10-2k.py
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

train_dataloader = dict(dataset=dict(num_splits=25))

param_scheduler = dict(T_max=200, end=200)
train_cfg = dict(max_epochs=200, val_interval=200)
