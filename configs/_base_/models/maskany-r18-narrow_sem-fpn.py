# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# A small Semantic FPN around the narrow ResNet-18 of the CIFAR-10 classifiers: no max pool and strides 2, 4, 8, 16, of
# which the pyramid takes 4, 8 and 16.
_base_ = 'mmseg::_base_/models/fpn_r50.py'

model = dict(
    data_preprocessor=dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255]),
    pretrained=None,
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
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64, start_level=1, num_outs=3),
    decode_head=dict(
        in_channels=[64, 64, 64],
        in_index=[0, 1, 2],
        feature_strides=[4, 8, 16],
        channels=64,
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
)
