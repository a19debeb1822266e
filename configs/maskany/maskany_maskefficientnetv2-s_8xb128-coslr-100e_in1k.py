# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskEfficientNetV2-S on ImageNet-1k.
_base_ = './efficientnetv2-s_8xb128-coslr-100e_in1k.py'

model = dict(
    backbone=dict(
        type='mmmaskany.MaskEfficientNetV2',
        masking=dict(
            # One image in five, as with the other networks. The stride of a grid divides 300 px where its cells are
            # 5, 10 or 15 px, so that no pixel is left out.
            pattern=dict(
                type='mmmaskany.MixturePattern',
                patterns=[dict(type='mmmaskany.GridPattern', scale=0.5, cell=[5, 10, 15], base=5)],
                probs=[0.2],
            ),
            fill=dict(type='mmmaskany.ConstantFill', value=_base_.black),
        ),
    )
)
