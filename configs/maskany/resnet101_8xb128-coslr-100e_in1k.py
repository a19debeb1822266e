# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain ResNet-101, same recipe and start values.
_base_ = './maskany_maskresnet101_8xb128-coslr-100e_in1k.py'

model = dict(backbone=dict(_delete_=True, type='mmpretrain.ResNet', depth=101, zero_init_residual=False))
