# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# ViT-B fine-tuned from CLIP's image encoder, the plain twin, in the manner of "CLIP itself is a strong fine-tuner"
# (arXiv 2212.06138): AdamW, layer-wise decay 0.6, RandAugment and smoothed labels, but no mixup, no cutmix and nothing
# erased; averaged weights.
#
# checkpoints/clip_vit-base-p16.pth is OpenAI's CLIP ViT-B/16 under mmpretrain's names, as mmpretrain's converter
# tools/model_converters/openai-clip_to_mmpretrain-clip.py writes it.
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        pre_norm=True,
        layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/clip_vit-base-p16.pth', prefix='visual.'),
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=1000),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
)

# CLIP's own mean and deviation.
data_preprocessor = dict(
    mean=[0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255],
    std=[0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255],
)
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'RandomErasing']
train_dataloader = dict(batch_size=256, num_workers=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=256, num_workers=8)
test_dataloader = val_dataloader

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=6e-4 * 2048 / 2048, weight_decay=0.05),
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.6,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=40, by_epoch=True, begin=10, end=50, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EMAHook', momentum=2e-4, priority='ABOVE_NORMAL')]

train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# tools/train.py --auto-scale-lr: lr = 6e-4 * (GPUs * batch per GPU * accumulation) / 2048
auto_scale_lr = dict(enable=False, base_batch_size=2048)
