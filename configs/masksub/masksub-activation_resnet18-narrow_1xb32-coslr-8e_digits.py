# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: in one image of two the cells that are filled are those that speak most for the class that the main branch
# predicts (class activation map); in the other they are random, as ever.
#
# Measured: Top-1 (%) 98.40 ± 0.16, Top-5 (%) 100.00 ± 0.00; 1 CPU core, 3 seeds, half a minute each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_guided --seeds 0 1 2 --configs \
#         configs/masksub/masksub-activation_resnet18-narrow_1xb32-coslr-8e_digits.py
_base_ = './masksub_resnet18-narrow_1xb32-coslr-8e_digits.py'

model = dict(
    sub_masking=dict(
        pattern=dict(
            _delete_=True,
            type='mmmaskany.MixturePattern',
            patterns=[
                dict(type='mmmaskany.ActivationPattern', ratio=0.5, cell=8, base=8, hide='most'),
                dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8),
            ],
            probs=[0.5, 0.5],
        )
    )
)
