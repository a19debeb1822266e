# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# UperNet on ADE20K, the plain twin: mmseg's own recipe for ViT-B/16, with mmpretrain's ViT-B/16 instead of mmseg's, the
# same network under the names of the plain classifier trained here. Its position embeddings are enlarged to 512 px when
# the classifier's are loaded.
_base_ = ['mmseg::vit/vit_vit-b16-ln_mln_upernet_8xb2-160k_ade20k-512x512.py', '../_base_/classifiers.py']
custom_imports = dict(imports=['mmmaskany'], allow_failed_imports=False)

model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=512,
        patch_size=16,
        drop_path_rate=0.1,
        out_indices=(2, 5, 8, 11),
        out_type='featmap',
        init_cfg=_base_.classifiers['vit-base-p16'],
    ),
)

default_hooks = dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', max_keep_ckpts=3))
# tools/train.py --auto-scale-lr: lr = 6e-5 * (GPUs * batch per GPU * accumulation) / 16
auto_scale_lr = dict(enable=False, base_batch_size=16)
