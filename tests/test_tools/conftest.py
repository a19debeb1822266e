# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Tiny trainings of the other two libraries, on a few drawn squares."""

import copy
import json
import uuid

import cv2
import numpy as np
import pytest
from mmengine.config import Config

CLASSES = dict(classes=('blue', 'green', 'red'))
BACKBONE = dict(
    _delete_=True,
    type='mmmaskany.MaskAny',
    backbone=dict(type='mmpretrain.ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=(0, 1, 2, 3)),
    masking=dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8)),
)


@pytest.fixture(scope='session')
def squares(tmp_path_factory):
    """Images with two squares each, as a COCO set and as label maps (0 is background)."""
    root = tmp_path_factory.mktemp('squares')
    generator = np.random.default_rng(0)
    for split, count in (('train', 8), ('val', 2)):
        images, annotations = [], []
        for folder in (split, f'{split}_labels'):
            (root / folder).mkdir()
        for index in range(count):
            height, width = (64, 96) if index % 2 else (96, 64)
            image = generator.integers(0, 64, (height, width, 3), dtype=np.uint8)
            labels = np.zeros((height, width), np.uint8)
            for _ in range(2):
                x, y, category = (int(generator.integers(limit)) for limit in (width - 24, height - 24, 3))
                image[y : y + 24, x : x + 24, category] = 255
                labels[y : y + 24, x : x + 24] = category + 1
                box = dict(id=len(annotations) + 1, image_id=index, category_id=category, bbox=[x, y, 24, 24])
                annotations.append(dict(box, area=576, iscrowd=0))
            images.append(dict(id=index, file_name=f'{index}.png', height=height, width=width))
            cv2.imwrite(str(root / split / f'{index}.png'), image)
            cv2.imwrite(str(root / f'{split}_labels' / f'{index}.png'), labels)
        categories = [dict(id=index, name=name) for index, name in enumerate(CLASSES['classes'])]
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / f'{split}.json').write_text(json.dumps(content))
    return root


def pipelines(pack, *augment, **labels):
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', **labels)]
    return load + [*augment, dict(type='RandomFlip', prob=0.5), dict(type=pack)], [*load, dict(type=pack)]


def detection(root):
    """An epoch-based training whose batches are grouped by aspect ratio, as mmdet's are."""
    scales = dict(type='RandomChoiceResize', scales=[(96, 64), (144, 96)], keep_ratio=True)
    train, test = pipelines('PackDetInputs', scales, with_bbox=True)
    resize = dict(type='Resize', scale=(96, 64), keep_ratio=True)
    test.insert(1, resize)
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
    keys = ('img_id', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
    sizes = [resize, dict(resize, scale=(144, 96))]
    views = [sizes, flips, [dict(type='PackDetInputs', meta_keys=keys)]]

    def data(split, pipeline):
        files = dict(data_root=str(root), ann_file=f'{split}.json', data_prefix=dict(img=split))
        return dict(type='CocoDataset', metainfo=CLASSES, pipeline=pipeline, test_mode=split == 'val', **files)

    return dict(
        model=dict(
            backbone=dict(BACKBONE),
            neck=dict(in_channels=[4, 8, 16, 32], out_channels=8),
            bbox_head=dict(num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1),
        ),
        train_dataloader=dict(dataset=data('train', train), batch_sampler=dict(type='AspectRatioBatchSampler')),
        val_dataloader=dict(dataset=data('val', test)),
        val_evaluator=dict(type='CocoMetric', ann_file=str(root / 'val.json'), metric='bbox'),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        tta_model=dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=9)),
        tta_pipeline=[dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=views)],
    )


def segmentation(root):
    """An iteration-based training on an endless sampler, as mmseg's are."""
    crop = dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.9)
    train, test = pipelines('PackSegInputs', crop, dict(type='PhotoMetricDistortion'), reduce_zero_label=True)
    views = [
        [dict(type='Resize', scale_factor=factor, keep_ratio=True) for factor in (0.75, 1.0)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='LoadAnnotations', reduce_zero_label=True)],
        [dict(type='PackSegInputs')],
    ]

    def data(split, pipeline):
        files = dict(data_root=str(root), data_prefix=dict(img_path=split, seg_map_path=f'{split}_labels'))
        kinds = dict(img_suffix='.png', seg_map_suffix='.png', reduce_zero_label=True)
        metainfo = dict(CLASSES, palette=[[255, 0, 0], [0, 255, 0], [0, 0, 255]])
        return dict(type='BaseSegDataset', metainfo=metainfo, pipeline=pipeline, **files, **kinds)

    return dict(
        model=dict(
            pretrained=None,
            data_preprocessor=dict(size=(64, 64)),
            backbone=dict(BACKBONE),
            decode_head=dict(in_channels=32, channels=8, num_convs=1, num_classes=3),
            auxiliary_head=dict(in_channels=16, channels=8, num_classes=3),
        ),
        train_dataloader=dict(dataset=data('train', train), sampler=dict(type='InfiniteSampler')),
        val_dataloader=dict(dataset=data('val', test)),
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4)),
        tta_model=dict(type='SegTTAModel'),
        tta_pipeline=[dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=views)],
    )


BASES = {'mmdet': (detection, 'retinanet_r50_fpn'), 'mmseg': (segmentation, 'fcn_r50-d8')}


@pytest.fixture(scope='session')
def write_library_config(squares):
    """Write a library's config, its own model of ``_base_`` with a MaskAny backbone, shrunk:
    ``write_library_config(folder, library, name, **changes)``.
    """

    def write(folder, library, name=None, **changes):
        make, base = BASES[library]
        path = folder / f'{name or library}.py'
        path.write_text(f"_base_ = ['{library}::_base_/models/{base}.py']\n")
        cfg, part = Config.fromfile(path), make(squares)
        val = dict(batch_size=1, num_workers=1, sampler=dict(type='DefaultSampler', shuffle=False))
        val.update(part['val_dataloader'])
        train = dict(batch_size=2, num_workers=1, sampler=dict(type='DefaultSampler', shuffle=True))
        train.update(part['train_dataloader'])
        part.update(train_dataloader=train, val_dataloader=val, test_dataloader=val, val_cfg=dict(), test_cfg=dict())
        part.update(default_scope=library, test_evaluator=part['val_evaluator'], randomness=dict(seed=0))
        part.update(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)))
        part.update(experiment_name=uuid.uuid4().hex)  # MMEngine keeps one state per name and second
        cfg.merge_from_dict(part)
        cfg.merge_from_dict(copy.deepcopy(changes))
        cfg.dump(path)
        return str(path)

    return write
