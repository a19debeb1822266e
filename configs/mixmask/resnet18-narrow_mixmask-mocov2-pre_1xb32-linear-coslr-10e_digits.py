# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Linear probe of what MixMask on MoCo v2 learned from the digits.
#
# Measured: Top-1 (%) 86.38 ± 4.00, Top-5 (%) 99.53 ± 0.16; 1 CPU core, 3 seeds, by
#
#     python tools/benchmarks/digits_mixmask.py work_dirs/digits_mixmask --twins --frameworks mocov2 simsiam \
#         --seeds 0 1 2 --jobs 2
_base_ = './resnet18-narrow_scratch_1xb32-linear-coslr-10e_digits.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmask-mocov2_resnet18-narrow_1xb64-coslr-15e_digits/epoch_15.pth',
            prefix='backbone.',
        )
    )
)
