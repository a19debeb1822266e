# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# From easy to hard, the idea of CL-MAE: MaskAny's masks grow from a sixteenth of the image to nine sixteenths.
#
# Measured: Top-1 (%) 98.69 ± 0.43, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/masking/easy-to-hard_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = '../maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(
                patterns=[
                    # Not in cells of 16 px: of 2 x 2 the last scale would mask all.
                    dict(type='mmmaskany.GridPattern', scale=0.25, cell=[4, 8], base=1),
                    dict(type='mmmaskany.PatchPattern', scale=0.25, base=1),
                    dict(type='mmmaskany.RandomPattern', scale=0.25, cell=[8, 4, 2], base=1),
                ],
            ),
        ),
    ),
)
custom_hooks = [dict(type='mmmaskany.MaskScheduleHook', scale=(0.25, 0.75))]
