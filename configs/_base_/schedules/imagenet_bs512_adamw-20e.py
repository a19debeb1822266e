# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# How DeiT III goes on at 224 px with what was trained on smaller images: AdamW, 20 epochs. After five epochs of warm-up
# the rate stays: its cosine ends at 1e-5, where it begins.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-5, weight_decay=0.1),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)},
    ),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / 1e-5, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=15, eta_min=1e-5, by_epoch=True, begin=5, end=20),
]

train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = 1e-5 * (GPUs * batch per GPU * accumulation) / 512
auto_scale_lr = dict(enable=False, base_batch_size=512)
