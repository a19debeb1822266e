# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Made by tools/misc/variant_configs.py.
# One pattern, one patch, in place of the mixture, in as many images.
_base_ = './maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(
    backbone=dict(
        masking=dict(pattern=dict(patterns=[_base_.model.backbone.masking.pattern.patterns[1]], probs=[0.4])),
    ),
)
