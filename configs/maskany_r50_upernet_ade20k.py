# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K from the MaskResNet-50 that configs/maskany_r50_in1k.py trains, 8 GPUs.
#
#     bash tools/dist_train.sh configs/maskany_r50_upernet_ade20k.py 8 \
#         --cfg-options model.backbone.init_cfg.checkpoint=work_dirs/maskany_r50_in1k/epoch_100.pth
#
# Data    data/ade/ADEChallengeData2016/{images,annotations}/{training,validation}
# Recipe  mmseg's own UperNet R50 160k at 512 px, 8 x 2 images a step instead of 4 x 4: only the backbone is another.
#         Masking is off; the reused stem sees the whole image at half size.
_base_ = [
    'mmseg::_base_/models/upernet_r50.py',
    'mmseg::_base_/datasets/ade20k.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_160k.py',
]
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/maskany_r50_in1k/epoch_100.pth', prefix='backbone.'),
    ),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)

train_dataloader = dict(batch_size=2)
default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
randomness = dict(seed=0, deterministic=False)
