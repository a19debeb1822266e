# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K from the MaskResNet-50 that configs/maskany_r50_in1k.py trains, 8 GPUs.
#
#     bash tools/dist_train.sh configs/maskany_r50_upernet_ade20k.py 8 \
#         --cfg-options model.backbone.init_cfg.checkpoint=work_dirs/maskany_r50_in1k/epoch_100.pth
#
# Data    data/ade/ADEChallengeData2016/{images,annotations}/{training,validation}
# Recipe  mmseg's own UperNet R50 160k at 512 px, 8 x 2 images a step instead of 4 x 4: only the backbone is another.
#         Masking is off; the reused stem sees the whole image at half size.
# Rate    lr = 0.01 for 8 x 2 images a step; on another number of GPUs give --auto-scale-lr.
_base_ = './segmentation/r50_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(backbone=dict(type='mmmaskany.MaskResNet', init_cfg=_base_.pretrained.maskresnet50))
