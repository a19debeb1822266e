# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask R-CNN on COCO, the plain twin: mmdet's own recipe for ConvNeXt-T, only it starts from the plain classifier
# trained here, and mixed precision is left to --amp.
_base_ = ['mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py', '../_base_/classifiers.py']
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(backbone=dict(init_cfg=_base_.classifiers['convnext-tiny']))

optim_wrapper = dict(type='OptimWrapper')
default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
