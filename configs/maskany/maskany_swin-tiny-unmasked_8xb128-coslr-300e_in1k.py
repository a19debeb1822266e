# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# Twin: the same network and recipe, nothing masked.
_base_ = './maskany_swin-tiny_8xb128-coslr-300e_in1k.py'

model = dict(backbone=dict(masking=None))
