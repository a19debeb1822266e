# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Fine-grained: CUB-200-2011 at 448 px, the recipe and the pre-training of mmpretrain's resnet50_8xb8_cub. The plain
# checkpoint is adopted as it is; the second stem starts by adding nothing.
_base_ = [
    '../_base_/models/maskany_resnet50.py',
    '../_base_/datasets/cub_bs8_448.py',
    '../_base_/schedules/cub_bs64_coslr-100e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        backbone=dict(
            init_cfg=dict(
                type='Pretrained',
                # Converted from https://github.com/Alibaba-MIIL/ImageNet21K
                checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/'
                'resnet50_3rdparty-mill_in21k_20220331-faac000b.pth',
                prefix='backbone',
            ),
        ),
        masking=dict(
            # Twice the cells of 224 px.
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[
                    dict(type='mmmaskany.GridPattern', scale=0.5, cell=[8, 16, 32], base=4),
                ],
                probs=[0.2],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        ),
    ),
    head=dict(num_classes=200),
)
default_hooks = dict(logger=dict(interval=20))
