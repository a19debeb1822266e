# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# What detection and segmentation start from: the last checkpoints of this project's own ImageNet classifiers. Another
# file is one option away: --cfg-options model.backbone.init_cfg.checkpoint=PATH
pretrained = dict(
    resnet50=dict(
        type='Pretrained',
        checkpoint='work_dirs/resnet50_8xb128-coslr-100e_in1k/epoch_100.pth',
        prefix='backbone.',
    ),
    maskany_resnet50=dict(
        type='Pretrained',
        checkpoint='work_dirs/maskany_resnet50_8xb128-coslr-100e_in1k/epoch_100.pth',
        prefix='backbone.',
    ),
    maskresnet50=dict(
        type='Pretrained',
        checkpoint='work_dirs/maskany_r50_in1k/epoch_100.pth',
        prefix='backbone.',
    ),
)

# The libraries leave the seed to chance; here every run can be repeated and resumed.
randomness = dict(seed=0, deterministic=False)
