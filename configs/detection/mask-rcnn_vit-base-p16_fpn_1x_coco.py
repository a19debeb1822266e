# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Mask R-CNN on COCO, the plain twin: ViT-B/16 with global attention, whose maps after 3, 6, 9 and 12 layers become the
# levels of a pyramid by transposed convolutions and pooling (Li et al., arXiv 2111.11429), with mmseg's neck for it.
# mmdet has no recipe for a plain ViT: this is the one it has for Swin-T.
_base_ = './mask-rcnn_swin-tiny_fpn_1x_coco.py'
custom_imports = dict(imports=['mmseg.models', 'mmmaskany'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=224,  # of the position embeddings, which are interpolated to every image's size
        patch_size=16,
        drop_path_rate=0.1,
        out_indices=(2, 5, 8, 11),
        out_type='featmap',
        init_cfg=_base_.classifiers['vit-base-p16'],
    ),
    neck=[
        dict(
            type='mmseg.Feature2Pyramid',
            embed_dim=768,
            rescales=[4, 2, 1, 0.5],
            norm_cfg=dict(type='SyncBN', requires_grad=True),
        ),
        dict(_base_.model.neck, in_channels=[768, 768, 768, 768]),
    ],
)

optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        norm_decay_mult=0.0,
        custom_keys={'pos_embed': dict(decay_mult=0.0), 'cls_token': dict(decay_mult=0.0)},
    )
)
