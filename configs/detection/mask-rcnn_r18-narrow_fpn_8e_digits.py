# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain narrow ResNet-18 from the plain classifier, same recipe.
#
# Measured: Box AP 71.07 ± 2.04, Mask AP 62.63 ± 2.63; 2 CPU cores, 3 seeds, by
#
#     python tools/benchmarks/digits_transfer.py work_dirs/digits_transfer --jobs 2
_base_ = './mask-rcnn_maskany-r18-narrow_fpn_8e_digits.py'

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
