# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# What is usual for ResNets on small images: SGD with Nesterov momentum, weight decay 5e-4, cosine.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1 * 128 / 128, momentum=0.9, weight_decay=5e-4, nesterov=True),
)

param_scheduler = dict(type='CosineAnnealingLR', T_max=300, by_epoch=True, begin=0, end=300)

train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = 0.1 * (GPUs * batch per GPU * accumulation) / 128
auto_scale_lr = dict(enable=False, base_batch_size=128)
