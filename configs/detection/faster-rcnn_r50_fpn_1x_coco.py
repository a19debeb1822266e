# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Faster R-CNN on COCO, the plain twin: mmdet's own recipe, only its ResNet-50 starts from the plain classifier trained
# here.
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', '../_base_/pretrained_r50.py']
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=_base_.pretrained.resnet50))

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
