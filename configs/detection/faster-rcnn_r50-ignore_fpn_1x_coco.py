# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Variant: in one image of two three of ten cells of 32 px are masked; objects of which less than a half can be seen are
# neither targets nor background. mmdet's assigners mind ignored boxes, crowds too, only if they are told to.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmmaskany.MaskedDetector',
    host='mmdet.FasterRCNN',
    masking=dict(
        pattern=dict(
            type='mmmaskany.MixturePattern',
            patterns=[dict(type='mmmaskany.RandomPattern', ratio=0.3, cell=32)],
            probs=[0.5],
        ),
        reuse=False,
    ),
    objects=dict(policy='ignore', min_visible=0.5),
    train_cfg=dict(rpn=dict(assigner=dict(ignore_iof_thr=0.5)), rcnn=dict(assigner=dict(ignore_iof_thr=0.5))),
)
