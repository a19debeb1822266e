# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# GridMask: black cells at a regular distance.
#
# Measured: Top-1 (%) 99.15 ± 0.28, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/masking/gridmask_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = './cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(patterns=[dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=1)]),
        ),
    ),
)
