# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Trainings of masked detectors and segmentors: in two processes, and resumed."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from states import assert_same_state
from two_processes import second_process

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

import dense_training
from dense_training import TRAININGS, train, train_in_two_processes


def test_two_processes_take_the_same_steps_as_one(tmp_path):
    with second_process(dense_training.__file__, tmp_path):
        found = dict(zip(TRAININGS, train_in_two_processes(0, tmp_path), strict=True))
    for name, state in found.items():
        torch.testing.assert_close(state, train(name, [0, 1]), rtol=1e-4, atol=1e-6)


def write_coco(folder):
    """Write six images of 48 x 48 pixels with two outlined objects each, as COCO has them."""
    generator, images, annotations = np.random.default_rng(0), [], []
    for index in range(6):
        cv2.imwrite(str(folder / f'{index}.png'), generator.integers(256, size=(48, 48, 3), dtype=np.uint8))
        images.append(dict(id=index, file_name=f'{index}.png', width=48, height=48))
        for kind in (0, 1):
            x, y, side = 4 + 18 * kind, 4 + 3 * index, 16
            outline = [x, y, x + side, y, x + side, y + side, x, y + side]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=index,
                    category_id=kind + 1,
                    bbox=[x, y, side, side],
                    area=side * side,
                    iscrowd=0,
                    segmentation=[outline],
                )
            )
    categories = [dict(id=1, name='a'), dict(id=2, name='b')]
    (folder / 'train.json').write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


@pytest.mark.parametrize('name', ['MaskSubMaskRCNN', 'MaskedFasterRCNN'])
def test_a_resumed_run_is_the_undisturbed_one(name, tool, tmp_path):
    write_coco(tmp_path)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='train.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('a', 'b')),
        pipeline=pipeline,
    )
    preprocessor = dict(type='DetDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, pad_mask=True)
    model = dict(TRAININGS[name](), data_preprocessor=dict(preprocessor, pad_size_divisor=32))
    for head in model['roi_head'].values():
        if isinstance(head, dict) and 'num_classes' in head:
            head['num_classes'] = 2
    cfg = Config(
        dict(
            default_scope='mmdet',
            model=model,
            train_dataloader=dict(
                batch_size=2,
                num_workers=2,
                sampler=dict(type='DefaultSampler', shuffle=True),
                batch_sampler=dict(type='AspectRatioBatchSampler'),
                dataset=dataset,
            ),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            default_hooks=dict(checkpoint=dict(type='mmmaskany.AtomicCheckpointHook', interval=1)),
            randomness=dict(seed=0),
        )
    )
    cfg.dump(tmp_path / 'tiny.py')
    argv = [str(tmp_path / 'tiny.py'), '--no-validate', '--work-dir']
    tool('train')([*argv, str(tmp_path / 'whole')])
    tool('train')([*argv, str(tmp_path / 'resumed'), '--resume', str(tmp_path / 'whole/epoch_1.pth')])
    paths = [tmp_path / name / 'epoch_2.pth' for name in ('whole', 'resumed')]
    assert_same_state(*paths, sections=('state_dict', 'optimizer'))
