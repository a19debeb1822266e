# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The schedule of DeiT III (arXiv 2204.07118) over 400 epochs, as MaskSub trains it: LAMB, which clips gradients to a
# norm of 1 by itself, five epochs of warm-up and a cosine. The rate is that of the S; larger networks take 3e-3.
optim_wrapper = dict(
    optimizer=dict(type='Lamb', lr=4e-3 * 2048 / 2048, weight_decay=0.03),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)},
    ),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / 4e-3, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=395, eta_min=1e-5, by_epoch=True, begin=5, end=400),
]

train_cfg = dict(by_epoch=True, max_epochs=400, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = lr * (GPUs * batch per GPU * accumulation) / 2048
auto_scale_lr = dict(enable=False, base_batch_size=2048)
