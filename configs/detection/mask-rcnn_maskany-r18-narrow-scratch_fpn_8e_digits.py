# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The same from scratch.
#
# Measured: Box AP 52.23 ± 2.35, Mask AP 44.00 ± 3.03; 2 CPU cores, 3 seeds, by
#
#     python tools/benchmarks/digits_transfer.py work_dirs/digits_transfer --jobs 2
_base_ = './mask-rcnn_maskany-r18-narrow_fpn_8e_digits.py'

model = dict(
    backbone=dict(_delete_=True, type='mmmaskany.MaskAny', backbone=_base_.model.backbone.backbone),
)
