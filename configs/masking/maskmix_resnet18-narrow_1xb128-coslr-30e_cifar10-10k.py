# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# CutMix with any pattern: MaskAny's masks, filled from another image, and labels weighted by the area.
#
# Measured: Top-1 (%) 68.70 ± 0.69, Top-5 (%) 97.42 ± 0.07; 1 NVIDIA H200, shared by 15 runs, 2 seeds, by
#
#     python tools/analysis_tools/compare_methods.py work_dirs/compare_cifar10_10k --seeds 0 1 --configs \
#         configs/masking/maskmix_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py
_base_ = '../maskany/maskany_resnet18-narrow_1xb128-coslr-30e_cifar10-10k.py'

model = dict(
    backbone=dict(_delete_=True, **_base_.model.backbone.backbone),
    train_cfg=dict(augments=dict(type='mmmaskany.MaskMix', pattern=_base_.model.backbone.masking.pattern)),
)
