# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# Twin: the same masks, but what they hide is lost (GridMask, Cutout): the reused view is the visible image at half
# size.
_base_ = './maskany_maskresnet34_8xb128-coslr-100e_in1k.py'

model = dict(backbone=dict(masking=dict(reuse=False)))
