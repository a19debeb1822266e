# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Cutout: one black rectangle, a quarter of the image, in four images of ten, and what it hides is lost.
#
#     python tools/dataset_converters/digits.py
#     python tools/train.py configs/masking/cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py
#
# Measured: Top-1 (%) 98.78 ± 0.65, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_digits --seeds 0 1 2 --configs \
#         configs/masking/cutout_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = '../maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    backbone=dict(
        masking=dict(
            pattern=dict(patterns=[dict(type='mmmaskany.PatchPattern', scale=0.5, base=1)], probs=[0.4]),
            reuse=False,
        ),
    ),
)
