# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The embedded default: real digits, a narrow ResNet-18, half a minute on two CPU cores.
#
#     python tools/dataset_converters/digits.py
#     python tools/train.py configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py
#
# Measured: Top-1 (%) 98.31 ± 0.56, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_guided --seeds 0 1 2 --configs \
#         configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = [
    '../_base_/models/maskany_resnet18_cifar.py',
    '../_base_/datasets/digits_bs32.py',
    '../_base_/schedules/digits_bs32_coslr-8e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        backbone=dict(stem_channels=16, base_channels=16, strides=(2, 2, 2, 2)),
        masking=dict(
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[
                    dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16], base=1),
                    dict(type='mmmaskany.PatchPattern', scale=0.5, base=1),
                    dict(type='mmmaskany.RandomPattern', scale=0.5, cell=[8, 4, 2], base=1),
                ],
                probs=[0.1, 0.2, 0.1],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        ),
    ),
    head=dict(in_channels=128),
)
# One line an epoch of 46 steps, over all of them.
default_hooks = dict(logger=dict(interval=46))
log_processor = dict(window_size=46)
