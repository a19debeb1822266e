# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskEfficientNetV2-S on ImageNet-1k.
_base_ = ['./efficientnetv2-s_8xb128-coslr-100e_in1k.py', '../_base_/in1k_masking.py']

model = dict(
    backbone=dict(
        type='mmmaskany.MaskEfficientNetV2',
        masking=dict(_base_.in1k_masking, fill=dict(type='mmmaskany.ConstantFill', value=_base_.black)),
    )
)
