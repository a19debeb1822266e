# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18 from scratch, same recipe.
#
# Measured: Box AP 50.53 ± 2.20, Mask AP 47.13 ± 2.50; 2 CPU cores, 3 seeds, by
#
#     python tools/benchmarks/digits_transfer.py work_dirs/digits_transfer --jobs 2
_base_ = './mask-rcnn_maskany-r18-narrow_fpn_8e_digits.py'

model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
