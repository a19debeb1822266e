# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18 from the plain classifier, same recipe.
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
