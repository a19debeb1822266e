# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The same from scratch.
#
# Measured: Box AP 9.85 ± 0.21; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_facemask --jobs 2 --seeds 0 1 --metric \
#         coco/bbox_mAP --configs configs/detection/faster-rcnn_maskany-r18-narrow-scratch_fpn_4e_facemask.py
_base_ = './faster-rcnn_maskany-r18-narrow_fpn_4e_facemask.py'

model = dict(
    backbone=dict(_delete_=True, type='mmmaskany.MaskAny', backbone=_base_.model.backbone.backbone),
)
