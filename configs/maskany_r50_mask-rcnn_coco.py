# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask R-CNN on COCO from the MaskResNet-50 that configs/maskany_r50_in1k.py trains, 8 GPUs.
#
#     bash tools/dist_train.sh configs/maskany_r50_mask-rcnn_coco.py 8 \
#         --cfg-options model.backbone.init_cfg.checkpoint=work_dirs/maskany_r50_in1k/epoch_100.pth
#
# Data    data/coco/{annotations,train2017,val2017}
# Recipe  mmdet's own Mask R-CNN R50-FPN 1x, unchanged: only the backbone is another. Masking is off; the reused stem
#         sees the whole image at half size. The stem and the first stage are frozen, as mmdet freezes them.
# Rate    lr = 0.02 for 8 x 2 images a step; on another number of GPUs give --auto-scale-lr.
_base_ = './detection/mask-rcnn_r50_fpn_1x_coco.py'

model = dict(backbone=dict(type='mmmaskany.MaskResNet', init_cfg=_base_.pretrained.maskresnet50))
