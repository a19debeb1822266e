# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# COCO images with maps of things and stuff: data/coco_stuffthing_200/images/{train2017,val2017} and
# semantic_segmentation/masks/{train2017,val2017}, 100 + 100 of them. Ids are COCO's panoptic categories, 1 to 200 with
# gaps; 0 is unlabelled, as in ADE20K. More than a fifth of the images has no map, so lists name those that have one:
#
#     cd data/coco_stuffthing_200
#     for split in train val; do
#         ls semantic_segmentation/masks/${split}2017 | sed 's/\.png$//' > $split.txt
#     done
dataset_type = 'BaseSegDataset'
data_root = 'data/coco_stuffthing_200'
metainfo = dict(classes=[f'category {number}' for number in range(1, 201)])

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(256, 128), ratio_range=(0.75, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(128, 128), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 128), keep_ratio=True),
    # After the resizing: the prediction is compared at the size of the original.
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='train.txt',
        data_prefix=dict(img_path='images/train2017', seg_map_path='semantic_segmentation/masks/train2017'),
        reduce_zero_label=True,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val.txt',
        data_prefix=dict(img_path='images/val2017', seg_map_path='semantic_segmentation/masks/val2017'),
        reduce_zero_label=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
