# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain ResNet-50, same recipe and start values.
_base_ = '../maskany_r50_in1k.py'

model = dict(backbone=dict(_delete_=True, type='mmpretrain.ResNet', depth=50, zero_init_residual=False))
