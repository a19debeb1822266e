# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask R-CNN on scenes of handwritten digits, from a classifier of single ones. The quickstart does the same.
#
#     python tools/train.py configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py
#     python tools/train.py configs/detection/mask-rcnn_maskany-r18-narrow_fpn_8e_digits.py
#
# Measured: Box AP 67.43 ± 0.59, Mask AP 60.07 ± 1.17; 2 CPU cores, 3 seeds, by
#
#     python tools/benchmarks/digits_transfer.py work_dirs/digits_transfer --jobs 2
_base_ = [
    '../_base_/models/mask-rcnn_maskany-r18-narrow_fpn.py',
    '../_base_/datasets/digits-coco_bs8.py',
    '../_base_/schedules/digits-coco_bs8_coslr-8e.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(mean=[79.6, 79.6, 79.6], std=[90.8, 90.8, 90.8]),  # the classifier's
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/maskany_resnet18-narrow_1xb32-coslr-8e_digits/epoch_8.pth',
            prefix='backbone.',
        )
    ),
    rpn_head=dict(anchor_generator=dict(ratios=[1.0, 1.6, 2.5])),  # digits are taller than wide
    roi_head=dict(
        bbox_head=dict(num_classes=10),
        mask_head=dict(num_convs=2, conv_out_channels=32, num_classes=10),
    ),
    train_cfg=dict(rcnn=dict(sampler=dict(num=64))),
)

# One line an epoch of 29 steps, over all of them.
default_hooks = dict(logger=dict(interval=29), checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=2))
log_processor = dict(window_size=29)
randomness = dict(seed=0, deterministic=False)
