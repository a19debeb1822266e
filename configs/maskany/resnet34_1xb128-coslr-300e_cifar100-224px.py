# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Twin: the plain ResNet-34, and the recipe of all of them: CIFAR-100 as the paper's code prepares it. Images of 32 px
# are resized to 224 px by PIL, bilinearly, and normalised as ImageNet's; neither cropped nor flipped.
#
# The training script is not public, so the schedule is not the paper's. Optimiser: what is usual for ResNets on small
# images, SGD with Nesterov momentum, lr 0.1 for 128 images, weight decay 5e-4, a cosine. Epochs: 300, as the names of
# published files (best_model162, best_model288) suggest, and like them the best epoch is kept besides the last.
_base_ = [
    '../_base_/models/maskresnet50.py',
    '../_base_/datasets/cifar100_bs128.py',
    '../_base_/schedules/small-images_bs128_coslr-300e.py',
    '../_base_/default_runtime.py',
]

# Those of ImageNet, as the paper's code has them here too.
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])

train_pipeline = [
    dict(type='Resize', scale=224, interpolation='bilinear', backend='pillow'),
    dict(type='PackInputs'),
]
test_pipeline = train_pipeline
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]

model = dict(
    backbone=dict(_delete_=True, type='mmpretrain.ResNet', depth=34, zero_init_residual=False),
    head=dict(num_classes=100, in_channels=512),
)
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1'))
