# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Swin's schedule on ImageNet for small images: AdamW, norms, biases and positions without decay, 20 epochs of warm-up,
# a cosine. Its rate of 1e-3 is for 1024 images a step; with an eighth of them it goes down with the square root, as is
# right for Adam (Malladi et al., arXiv 2205.10287).
_base_ = 'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py'

optim_wrapper = dict(
    optimizer=dict(lr=1e-3 * (128 / 1024) ** 0.5),
    clip_grad=dict(max_norm=5.0),
)

train_cfg = dict(max_epochs=200)

# tools/train.py --auto-scale-lr is linear all the same
auto_scale_lr = dict(enable=False, base_batch_size=128)
