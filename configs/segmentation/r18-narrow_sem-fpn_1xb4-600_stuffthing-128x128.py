# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18 from the plain classifier, same recipe.
#
# Measured: mIoU (%) 1.42 ± 0.08; 2 CPU cores, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_stuffthing --jobs 2 --seeds 0 1 \
#         --metric mIoU --configs configs/segmentation/r18-narrow_sem-fpn_1xb4-600_stuffthing-128x128.py
_base_ = './maskany-r18-narrow_sem-fpn_1xb4-600_stuffthing-128x128.py'

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
