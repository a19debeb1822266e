# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18 from scratch, same recipe.
#
# Measured: Box AP 9.50 ± 0.28; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_facemask --jobs 2 --seeds 0 1 --metric \
#         coco/bbox_mAP --configs configs/detection/faster-rcnn_r18-narrow-scratch_fpn_4e_facemask.py
_base_ = './faster-rcnn_maskany-r18-narrow_fpn_4e_facemask.py'

model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone))
