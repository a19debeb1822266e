# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: Semi-supervised fine-tuning from MoCo v2: 1 % of the labels.
_base_ = './resnet50_mocov2-pre_8xb32-linear-steplr-100e_in1k.py'

model = dict(backbone=dict(frozen_stages=-1))

# The new classifier learns faster than what is pre-trained.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=100))),
)
param_scheduler = dict(_delete_=True, type='MultiStepLR', by_epoch=True, milestones=[12, 16], gamma=0.2)
train_cfg = dict(max_epochs=20, val_interval=20)

# tools/dataset_converters/imagenet_subset.py writes the list.
train_dataloader = dict(dataset=dict(ann_file='meta/train_1percent.txt'))

# tools/train.py --auto-scale-lr: lr = 0.01 * (GPUs * batch per GPU * accumulation) / 256
auto_scale_lr = dict(enable=False, base_batch_size=256)
