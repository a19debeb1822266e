# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# For transformers, which need longer than the eight epochs of a ResNet.
_base_ = './digits_bs32_coslr-8e.py'

optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3 * 32 / 32, weight_decay=0.05))

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=3, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=27, by_epoch=True, begin=3, end=30, convert_to_iter_based=True),
]

train_cfg = dict(max_epochs=30)
