# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The recipe of mmpretrain's resnet50_8xb8_cub, so that its published result can be compared with.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01 * 64 / 64, momentum=0.9, weight_decay=5e-4, nesterov=True),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=95, by_epoch=True, begin=5, end=100),
]

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = 0.01 * (GPUs * batch per GPU * accumulation) / 64
auto_scale_lr = dict(enable=False, base_batch_size=64)
