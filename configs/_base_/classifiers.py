# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# What detection and segmentation on Swin, ConvNeXt and ViT start from: the last checkpoints of this project's own
# ImageNet classifiers. Another file is one option away: --cfg-options model.backbone.init_cfg.checkpoint=PATH
classifiers = {
    name: dict(
        type='Pretrained',
        checkpoint=f'work_dirs/{name}_8xb128-coslr-300e_in1k/epoch_300.pth',
        prefix='backbone.',
    )
    for name in (
        'swin-tiny',
        'maskany_swin-tiny',
        'maskany_maskswin-tiny',
        'convnext-tiny',
        'maskany_convnext-tiny',
        'vit-base-p16',
        'maskany_vit-base-p16',
    )
}

# The libraries leave the seed to chance; here every run can be repeated and resumed.
randomness = dict(seed=0, deterministic=False)
