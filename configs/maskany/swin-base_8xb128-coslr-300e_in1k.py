# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain Swin-B, same recipe.
_base_ = './swin-tiny_8xb128-coslr-300e_in1k.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.5), head=dict(in_channels=1024))
