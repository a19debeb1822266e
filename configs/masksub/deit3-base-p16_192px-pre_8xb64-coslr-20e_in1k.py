# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# DeiT III B at 224 px, the plain twin: it goes on from 192 px, where its position embeddings come from, with smoothed
# labels and their cross entropy. `load_from` names the checkpoint of 400 epochs; that of 800 is another.
_base_ = [
    'mmpretrain::_base_/models/deit3/deit3-base-p16-224.py',
    '../_base_/datasets/imagenet_bs64_randaugment9_224.py',
    '../_base_/schedules/imagenet_bs512_adamw-20e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        type='mmmaskany.DeiT3',  # mmpretrain's computes another function
        drop_path_rate=0.0,
        layer_cfgs=dict(drop_path_rate=0.2),  # the same in every layer
    )
)
load_from = 'work_dirs/deit3-base-p16_8xb256-coslr-400e_in1k-192px/epoch_400.pth'
