# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18 from the plain classifier, same recipe.
#
# Measured: mIoU (%) 76.40 ± 1.89; 2 CPU cores, 3 seeds, by
#
#     python tools/benchmarks/digits_transfer.py work_dirs/digits_transfer --jobs 2
_base_ = './maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96.py'

model = dict(
    backbone=dict(
        _delete_=True,
        **_base_.model.backbone.backbone,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/resnet18-narrow_1xb32-coslr-8e_digits/epoch_8.pth',
            prefix='backbone.',
        ),
    )
)
