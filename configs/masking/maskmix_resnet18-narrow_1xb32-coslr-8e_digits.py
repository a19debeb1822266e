# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# CutMix with any pattern: MaskAny's masks, filled from another image, and labels weighted by the area.
#
# Measured: Top-1 (%) 98.87 ± 0.28, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/masking/maskmix_resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = '../maskany/resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    train_cfg=dict(
        augments=dict(
            type='mmmaskany.MaskMix',
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[
                    dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=1),
                    dict(type='mmmaskany.PatchPattern', scale=0.5, base=1),
                    dict(type='mmmaskany.RandomPattern', scale=0.5, cell=[8, 4, 2], base=1),
                ],
                probs=[0.1, 0.2, 0.1],
            ),
        ),
    ),
)
