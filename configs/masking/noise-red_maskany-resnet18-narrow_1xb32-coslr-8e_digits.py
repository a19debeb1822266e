# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ColorMAE's red noise: large smooth regions (low-pass).
#
# Measured: Top-1 (%) 98.78 ± 0.43, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/masking/noise-red_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = './cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(
                patterns=[dict(type='mmmaskany.NoisePattern', color='red', scale=0.5, cell=2, base=1)],
            ),
        ),
    ),
)
