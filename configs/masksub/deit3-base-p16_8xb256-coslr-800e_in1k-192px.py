# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# DeiT III B on ImageNet-1k, the plain twin: the 800 epochs of its paper (arXiv 2204.07118).
_base_ = './deit3-base-p16_8xb256-coslr-400e_in1k-192px.py'

model = dict(backbone=dict(layer_cfgs=dict(drop_path_rate=0.2)))  # the same in every layer
optim_wrapper = dict(optimizer=dict(weight_decay=0.05))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], T_max=795, end=800)]
train_cfg = dict(max_epochs=800)
