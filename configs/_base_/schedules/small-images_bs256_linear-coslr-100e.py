# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# A linear classifier on frozen features: no weight decay.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1 * 256 / 256, momentum=0.9, weight_decay=0.0))

param_scheduler = dict(type='CosineAnnealingLR', T_max=100, by_epoch=True, begin=0, end=100)

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = 0.1 * (GPUs * batch per GPU * accumulation) / 256
auto_scale_lr = dict(enable=False, base_batch_size=256)
