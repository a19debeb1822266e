# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ColorMAE's green noise: clusters at regular distances (band-pass).
#
# Measured: Top-1 (%) 98.31 ± 0.49, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/masking/noise-green_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = './cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(
                patterns=[dict(type='mmmaskany.NoisePattern', color='green', scale=0.5, cell=2, base=1)],
            ),
        ),
    ),
)
