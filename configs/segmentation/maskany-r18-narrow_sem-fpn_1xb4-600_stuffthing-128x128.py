# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Semantic FPN on 100 real images from a classifier that was trained on CIFAR-10, as far as two CPU cores go; README.md
# has the commands.
#
# Measured: mIoU (%) 1.47 ± 0.25; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_stuffthing --jobs 2 --seeds 0 1 \
#         --metric mIoU --configs \
#         configs/segmentation/maskany-r18-narrow_sem-fpn_1xb4-600_stuffthing-128x128.py
_base_ = [
    '../_base_/models/maskany-r18-narrow_sem-fpn.py',
    '../_base_/datasets/stuffthing_bs4_128.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/schedules/stuffthing_bs4_coslr-600.py',
]
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/maskany_resnet18-narrow_1xb128-coslr-6e_cifar10-folders/epoch_6.pth',
            prefix='backbone.',
        )
    ),
    decode_head=dict(num_classes=200),
)

randomness = dict(seed=0, deterministic=False)
