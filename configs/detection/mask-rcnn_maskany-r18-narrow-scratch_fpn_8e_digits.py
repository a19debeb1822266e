# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The same from scratch.
_base_ = './mask-rcnn_maskany-r18-narrow_fpn_8e_digits.py'

model = dict(
    backbone=dict(_delete_=True, type='mmmaskany.MaskAny', backbone=_base_.model.backbone.backbone),
)
