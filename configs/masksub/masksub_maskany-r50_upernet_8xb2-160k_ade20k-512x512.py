# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# MaskSub for UperNet on ADE20K with MaskAny around the ResNet-50: in the sub-branch half of the cells of 32 px are the
# mean colour. The plain twin is configs/segmentation/maskany-r50_upernet_8xb2-160k_ade20k-512x512.py.
_base_ = '../segmentation/maskany-r50_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    type='mmmaskany.MaskSubSegmentor',
    sub_masking=dict(
        type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=32, base=32)
    ),
)
model_wrapper_cfg = dict(type='mmmaskany.OwnStepDistributedDataParallel')
