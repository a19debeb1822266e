# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# mmpretrain's plain recipe for ResNets (SGD, weight decay 1e-4, 100 epochs) with a cosine instead of steps. The
# learning rate follows the linear scaling rule, and its first five epochs are a warm-up (Goyal et al., arXiv
# 1706.02677).
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1 * 1024 / 256, momentum=0.9, weight_decay=1e-4),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=95, by_epoch=True, begin=5, end=100),
]

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = 0.1 * (GPUs * batch per GPU * accumulation) / 256
auto_scale_lr = dict(enable=False, base_batch_size=1024)
