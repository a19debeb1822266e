# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# The paper's MaskSwin-T on ImageNet-1k: two patch embeddings of half the width, concatenated.
_base_ = ['./swin-tiny_8xb128-coslr-300e_in1k.py', '../_base_/in1k_masking.py']

model = dict(
    backbone=dict(
        type='mmmaskany.MaskSwinTransformer',
        drop_path_rate=0.1,  # the paper's; the plain Swin-T has 0.2
        masking=dict(_base_.in1k_masking, fill=dict(type='mmmaskany.ConstantFill', value=_base_.black)),
    )
)
