# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Faster R-CNN on real face masks from a classifier that was trained on CIFAR-10, as far as two CPU cores go; README.md
# has the commands.
#
# Measured: Box AP 18.25 ± 0.49; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_facemask --jobs 2 --seeds 0 1 --metric \
#         coco/bbox_mAP --configs configs/detection/faster-rcnn_maskany-r18-narrow_fpn_4e_facemask.py
_base_ = [
    '../_base_/models/faster-rcnn_maskany-r18-narrow_fpn.py',
    '../_base_/datasets/facemask_bs4.py',
    '../_base_/schedules/facemask_bs4_coslr-4e.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/maskany_resnet18-narrow_1xb128-coslr-6e_cifar10-folders/epoch_6.pth',
            prefix='backbone.',
        )
    ),
    roi_head=dict(bbox_head=dict(num_classes=3)),
    # Few faces in a small image need few proposals.
    train_cfg=dict(rpn_proposal=dict(nms_pre=200, max_per_img=100), rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)),
)

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
randomness = dict(seed=0, deterministic=False)
