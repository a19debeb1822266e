# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K, the plain twin: mmseg's own recipe for Swin-T, with mmpretrain's Swin-T instead of mmseg's, the
# same network under the names of the plain classifier trained here.
_base_ = [
    'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    '../_base_/classifiers.py',
]
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch='tiny',
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
        init_cfg=_base_.classifiers['swin-tiny'],
    )
)

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
# tools/train.py --auto-scale-lr: lr = 6e-5 * (GPUs * batch per GPU * accumulation) / 16
auto_scale_lr = dict(enable=False, base_batch_size=16)
