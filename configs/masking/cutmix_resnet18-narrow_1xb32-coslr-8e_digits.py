# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin of MaskMix: mmpretrain's own CutMix, in four batches of ten.
#
# Measured: Top-1 (%) 99.06 ± 0.16, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/masking/cutmix_resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = '../maskany/resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=0.4))
