# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Eight epochs with a high learning rate and a one-epoch warm-up: enough for 1,442 digits.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1 * 32 / 32, momentum=0.9, weight_decay=5e-4, nesterov=True),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=7, by_epoch=True, begin=1, end=8, convert_to_iter_based=True),
]

train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = 0.1 * (processes * batch per process * accumulation) / 32
auto_scale_lr = dict(enable=False, base_batch_size=32)
