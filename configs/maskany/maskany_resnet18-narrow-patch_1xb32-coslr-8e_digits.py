# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# One pattern, one patch, in place of the mixture, in as many images.
#
# Measured: Top-1 (%) 98.59 ± 0.49, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/maskany/maskany_resnet18-narrow-patch_1xb32-coslr-8e_digits.py
_base_ = './maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(pattern=dict(patterns=[_base_.model.backbone.masking.pattern.patterns[1]], probs=[0.4])),
    ),
)
