# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
default_scope = 'mmpretrain'
# Loud where the import breaks; the modules themselves are looked up as `mmmaskany.X`.
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Never leaves a half-written file as the latest checkpoint.
    checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', interval=1, max_keep_ckpts=3),
    # Ends a training whose loss is NaN before a checkpoint of it replaces a good one.
    non_finite=dict(type='mmmaskany.NonFiniteLossHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
)

env_cfg = dict(
    cudnn_benchmark=True,  # images of one size only
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
# What is drawn at a step or for a sample follows from this seed, so that every run can be repeated and resumed.
randomness = dict(seed=0, deterministic=False)

log_level = 'INFO'
load_from = None
resume = False

# tools/test.py --tta
tta_model = dict(type='AverageClsScoreTTA')
