# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Siamese pre-training on small images: 0.06 for 512 images, as in MoCo's and SimSiam's own recipes for CIFAR-10.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.06 * 512 / 512, momentum=0.9, weight_decay=5e-4))

param_scheduler = dict(type='CosineAnnealingLR', T_max=200, by_epoch=True, begin=0, end=200)

train_cfg = dict(by_epoch=True, max_epochs=200)

# tools/train.py --auto-scale-lr: lr = 0.06 * (GPUs * batch per GPU * accumulation) / 512
auto_scale_lr = dict(enable=False, base_batch_size=512)
