# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# A short recipe for small networks: AdamW, warm-up over 100 steps, cosine over the rest of 4 epochs.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10.0),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', T_max=4, by_epoch=True, begin=0, end=4, convert_to_iter_based=True),
]

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# tools/train.py --auto-scale-lr: lr = 1e-3 * (GPUs * batch per GPU * accumulation) / 4
auto_scale_lr = dict(enable=False, base_batch_size=4)
