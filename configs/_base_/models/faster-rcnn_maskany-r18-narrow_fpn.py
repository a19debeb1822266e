# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# A small Faster R-CNN for small objects, around the narrow ResNet-18 of the CIFAR-10 classifiers: no max pool and
# strides 2, 4, 8, 16, of which the pyramid takes 4, 8 and 16 and adds 32.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    data_preprocessor=dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255]),
    backbone=dict(
        _delete_=True,
        type='mmmaskany.MaskAny',
        backbone=dict(
            type='mmpretrain.ResNet_CIFAR',
            depth=18,
            stem_channels=16,
            base_channels=16,
            strides=(2, 2, 2, 2),
            out_indices=(0, 1, 2, 3),
        ),
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64, start_level=1, num_outs=4),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[3], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=[4, 8, 16], finest_scale=24),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=128)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)),
)
