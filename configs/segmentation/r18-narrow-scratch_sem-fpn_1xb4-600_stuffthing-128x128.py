# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18 from scratch, same recipe.
#
# Measured: mIoU (%) 1.06 ± 0.11; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_stuffthing --jobs 2 --seeds 0 1 \
#         --metric mIoU --configs \
#         configs/segmentation/r18-narrow-scratch_sem-fpn_1xb4-600_stuffthing-128x128.py
_base_ = './maskany-r18-narrow_sem-fpn_1xb4-600_stuffthing-128x128.py'

model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
