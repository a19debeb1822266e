# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Early, then off: MaskAny's masks in the first five epochs, and whole images in the last three.
#
# Measured: Top-1 (%) 99.06 ± 0.43, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_guided --seeds 0 1 2 --configs \
#         configs/masking/early_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = '../maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'

custom_hooks = [dict(type='mmmaskany.MaskScheduleHook', samples=(0.0, 0.0), begin=5)]
