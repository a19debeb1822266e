# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# A short recipe for a small network: a high learning rate as in pre-training, warm-up over 20 steps, cosine over the
# rest of 300. AdamW learns what is a digit as fast, but which one it is much later; and without so low a limit for the
# gradients the first steps undo some of the pre-training, more or less of it from seed to seed.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
    clip_grad=dict(max_norm=1.0),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=280, by_epoch=False, begin=20, end=300),
]

train_cfg = dict(type='IterBasedTrainLoop', max_iters=300, val_interval=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# tools/train.py --auto-scale-lr: lr = 0.1 * (GPUs * batch per GPU * accumulation) / 8
auto_scale_lr = dict(enable=False, base_batch_size=8)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', by_epoch=False, interval=150, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
