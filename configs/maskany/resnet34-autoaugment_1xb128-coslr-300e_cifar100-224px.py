# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Control: the plain ResNet-34 with AutoAugment, of the policy for CIFAR-10, on all images: what it is worth without a
# second view. The paper has no such variant.
_base_ = './resnet34_1xb128-coslr-300e_cifar100-224px.py'

train_pipeline = [
    dict(type='mmmaskany.TorchvisionAutoAugment', policy='cifar10', bgr=False),
    dict(type='Resize', scale=224, interpolation='bilinear', backend='pillow'),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
