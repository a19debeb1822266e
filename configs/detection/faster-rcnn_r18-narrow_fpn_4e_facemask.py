# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18 from the plain classifier, same recipe.
#
# Measured: Box AP 20.20 ± 0.71; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_facemask --jobs 2 --seeds 0 1 --metric \
#         coco/bbox_mAP --configs configs/detection/faster-rcnn_r18-narrow_fpn_4e_facemask.py
_base_ = './faster-rcnn_maskany-r18-narrow_fpn_4e_facemask.py'

model = dict(
    backbone=dict(
        _delete_=True,
        **_base_.model.backbone.backbone,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/resnet18-narrow_1xb128-coslr-6e_cifar10-folders/epoch_6.pth',
            prefix='backbone.',
        ),
    )
)
