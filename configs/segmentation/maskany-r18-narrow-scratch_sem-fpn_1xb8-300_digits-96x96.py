# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The same from scratch.
#
# Measured: mIoU (%) 23.01 ± 1.84; 2 CPU cores, 3 seeds, by
#
#     python tools/benchmarks/digits_transfer.py work_dirs/digits_transfer --jobs 2
_base_ = './maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96.py'

model = dict(
    backbone=dict(_delete_=True, type='mmmaskany.MaskAny', backbone=_base_.model.backbone.backbone),
)
