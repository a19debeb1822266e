# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# A linear classifier on frozen features: no weight decay, validated once it is trained.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1 * 32 / 32, momentum=0.9, weight_decay=0.0))

param_scheduler = dict(type='CosineAnnealingLR', T_max=10, by_epoch=True, begin=0, end=10, convert_to_iter_based=True)

train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=10)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = 0.1 * (processes * batch per process * accumulation) / 32
auto_scale_lr = dict(enable=False, base_batch_size=32)
