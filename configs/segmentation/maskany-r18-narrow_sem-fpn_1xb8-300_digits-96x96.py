# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Semantic FPN on scenes of handwritten digits, from a classifier of single ones. The quickstart does the same.
#
#     python tools/train.py configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py
#     python tools/train.py configs/segmentation/maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96.py
#
# Measured: mIoU (%) 74.76 ± 3.62; 2 CPU cores, 3 seeds, by
#
#     python tools/benchmarks/digits_transfer.py work_dirs/digits_transfer --jobs 2
_base_ = [
    '../_base_/models/maskany-r18-narrow_sem-fpn.py',
    '../_base_/datasets/digits-ade_bs8_96.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/digits-ade_bs8_coslr-300.py',
]
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(mean=[79.6, 79.6, 79.6], std=[90.8, 90.8, 90.8], size=(96, 96)),  # the classifier's
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/maskany_resnet18-narrow_1xb32-coslr-8e_digits/epoch_8.pth',
            prefix='backbone.',
        )
    ),
    # The strokes are a few pixels wide: the pyramid starts at stride 2.
    neck=dict(out_channels=32, start_level=0, num_outs=4),
    decode_head=dict(
        in_channels=[32, 32, 32, 32],
        in_index=[0, 1, 2, 3],
        feature_strides=[2, 4, 8, 16],
        channels=32,
        num_classes=11,
        # Most of a scene is background: in the second loss every class counts alike.
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_name='loss_ce', loss_weight=1.0),
            dict(type='LovaszLoss', loss_name='loss_lovasz', reduction='none', loss_weight=1.0),
        ],
    ),
)

log_processor = dict(window_size=50)  # a line of the log is about all steps since the last one
randomness = dict(seed=0, deterministic=False)
