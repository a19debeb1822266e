# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Siamese pre-training on 1,442 digits, 22 steps an epoch; nothing to validate.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1 * 64 / 64, momentum=0.9, weight_decay=5e-4))

param_scheduler = dict(type='CosineAnnealingLR', T_max=15, by_epoch=True, begin=0, end=15, convert_to_iter_based=True)

train_cfg = dict(by_epoch=True, max_epochs=15)

# tools/train.py --auto-scale-lr: lr = 0.1 * (processes * batch per process * accumulation) / 64
auto_scale_lr = dict(enable=False, base_batch_size=64)
