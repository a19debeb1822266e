# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# A short recipe for a small network: AdamW, warm-up over the first epoch of 29 steps, cosine over the rest of eight.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10.0),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=7, by_epoch=True, begin=1, end=8, convert_to_iter_based=True),
]

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# tools/train.py --auto-scale-lr: lr = 1e-3 * (GPUs * batch per GPU * accumulation) / 8
auto_scale_lr = dict(enable=False, base_batch_size=8)
