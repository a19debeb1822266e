# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: in one image of two a quarter is masked, outside of the digits first, so that the background is another one.
#
# Measured: Box AP 66.50 ± 2.25, Mask AP 57.53 ± 3.29; 1 CPU core, 3 seeds, two to four minutes each, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_objects --seeds 0 1 2 --metric \
#         coco/bbox_mAP coco/segm_mAP --configs \
#         configs/detection/mask-rcnn_r18-narrow-objects_fpn_8e_digits.py
_base_ = './mask-rcnn_r18-narrow_fpn_8e_digits.py'

model = dict(
    type='mmmaskany.MaskedDetector',
    host='mmdet.MaskRCNN',
    masking=dict(
        pattern=dict(
            type='mmmaskany.MixturePattern',
            patterns=[dict(type='mmmaskany.ObjectPattern', ratio=0.25, cell=8, hide='outside')],
            probs=[0.5],
        ),
        reuse=False,
    ),
    objects=dict(policy='drop', min_visible=0.25),
)
