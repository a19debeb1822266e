# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Detection and segmentation sets that cannot be trained on are named before a training starts."""

import json
import uuid

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.structures import PixelData

from mmmaskany.datasets import SeededDataset
from mmmaskany.datasets.label_map import check_label_map
from mmmaskany.engine import launch
from mmmaskany.engine.checks.data import check_coco, check_dataset

# ---------------------------------------------------------------------- COCO


@pytest.fixture
def coco(tmp_path):
    """Write two images and their annotations: ``coco(**changes)`` returns what check_coco takes."""
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 60, 3), np.uint8))

    def write(**changes):
        content = dict(
            images=[dict(id=i, file_name=f'{name}.png', width=60, height=40) for i, name in enumerate('ab')],
            annotations=[dict(id=7, image_id=0, category_id=0, bbox=[50, 30, 10, 10], area=100, iscrowd=0)],
            categories=[dict(id=0, name='cat'), dict(id=5, name='dog')],
        )
        content.update(changes)
        (tmp_path / 'set.json').write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return 'train_dataloader.dataset', tmp_path / 'set.json', tmp_path

    return write


def box(*bbox, **changes):
    return [dict(dict(id=7, image_id=0, category_id=0, bbox=list(bbox), area=1, iscrowd=0), **changes)]


def test_good_set(coco):
    check_coco(*coco(), ['dog', 'cat'])
    check_coco(*coco(), None)
    check_coco(*coco(annotations=[]), ['cat'])
    check_coco(*coco(annotations=box(-0.5, -0.5, 61, 41)), ['cat'])  # COCO's own boxes are as far off


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (dict(annotations=None), ValueError, r'set\.json of train_dataloader\.dataset .* has no annotations'),
        (
            dict(categories=[dict(id=0, name='Cat')]),
            ValueError,
            r'classes of train_dataloader\.dataset must be categories of .*set\.json, Cat, but got cat, dog: set metai',
        ),
        (
            dict(images=[dict(id=0, file_name='a.png', width=0, height=40)], annotations=[]),
            ValueError,
            r'gives a\.png 0 x 40 px',
        ),
        (
            dict(images=[dict(id=0, file_name='c.png', width=60, height=40)]),
            FileNotFoundError,
            r'1 files of train_dataloader\.dataset are missing: .*c\.png',
        ),
        (
            dict(annotations=box(60, 0, 10, 10)),
            ValueError,
            r'1 of .*set\.json lie outside: annotation 7, \[60, 0, 10, 10\] on a\.png, 60 x 40 px',
        ),
        (dict(annotations=box(0, -10, 10, 10)), ValueError, r'1 of .*set\.json lie outside'),
        (dict(annotations=box(0, 0, 9, 9, image_id=3)), ValueError, r'annotation 7 belongs to image 3, which is not'),
    ],
)
def test_bad_set(coco, changes, error, message):
    with pytest.raises(error, match=message):
        check_coco(*coco(**changes), ['cat', 'dog'])


def test_empty_image_and_file_that_is_no_json(coco):
    files = coco()
    (files[2] / 'b.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'must not be empty, but 1 are: .*b\.png'):
        check_coco(*files)
    files[1].write_text('{"images": [')
    with pytest.raises(ValueError, match=r'set\.json of train_dataloader\.dataset must be a JSON file, but is not'):
        check_coco(*files)


@pytest.mark.parametrize(
    ('bbox', 'text'),
    [
        ((50, 30, 20, 20), 'reach over the edge of their image: annotation 7, [50, 30, 20, 20] on a.png'),
        ((5, 5, 0, 9), 'have no area and are left out: annotation 7'),
    ],
)
def test_odd_boxes_are_a_warning(coco, bbox, text, capfd):
    MMLogger.get_instance(uuid.uuid4().hex, log_level='WARNING')
    check_coco(*coco(annotations=box(*bbox)), ['cat', 'dog'])
    assert text in ''.join(capfd.readouterr())


def test_dataset_of_mmdet(coco):
    maker = pytest.importorskip('mmdet.datasets').CocoDataset
    _, annotations, folder = coco()
    dataset = ConfigDict(
        type='CocoDataset', data_root=str(folder), ann_file=annotations.name, metainfo=dict(classes=('cat', 'dog'))
    )
    check_dataset('train', dataset, maker)
    with pytest.raises(ValueError, match=r'cat, dog, but got person, bicycle, .* and 68 more'):  # mmdet's own classes
        check_dataset('train', ConfigDict({k: v for k, v in dataset.items() if k != 'metainfo'}), maker)
    with pytest.raises(ValueError, match=r"'cat', 'dog', but got 7: set"):
        check_dataset('train', ConfigDict(dataset, metainfo=dict(classes=('cat', 7))), maker)
    dataset.backend_args = dict(backend='petrel')
    dataset.metainfo.classes = ('bird',)
    check_dataset('train', dataset, maker)  # not on this machine


# ---------------------------------------------------------------------- label maps


@pytest.fixture
def maps(tmp_path):
    """Three images with their label maps: ``maps(ids, **changes)`` returns the config of the set."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'maps').mkdir()
    for name in 'abc':
        cv2.imwrite(str(tmp_path / f'images/{name}.jpg'), np.zeros((4, 6, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f'maps/{name}.png'), np.ones((4, 6), np.uint8))

    def write(ids=(), **changes):
        labels = np.ones((4, 6), np.uint8)
        labels.flat[: len(ids)] = ids
        cv2.imwrite(str(tmp_path / 'maps/b.png'), labels)
        dataset = dict(
            type='BaseSegDataset',
            data_root=str(tmp_path),
            data_prefix=dict(img_path='images', seg_map_path='maps'),
            metainfo=dict(classes=('road', 'sky'), palette=[[0, 0, 0], [9, 9, 9]]),
        )
        dataset.update(changes)
        return ConfigDict(dataset)

    return write


@pytest.fixture
def seg_dataset():
    return pytest.importorskip('mmseg.datasets').BaseSegDataset


@pytest.mark.parametrize(
    ('ids', 'reduce_zero_label', 'message'),
    [
        ((0, 1, 255), False, None),
        ((0, 1, 2, 255), True, None),
        ((0, 1, 2, 9), False, r'b\.png must hold the ids of 2 classes, 0 to 1, but holds 2, 9'),
        ((0, 1, 2, 3), True, r'b\.png must hold the ids of 2 classes, 1 to 2, and 0 for unlabelled, but holds 3'),
    ],
)
def test_ids_of_label_maps(maps, seg_dataset, ids, reduce_zero_label, message):
    dataset = maps(ids, reduce_zero_label=reduce_zero_label, _scope_='mmseg')  # as inherited from 'mmseg::...'
    if message is None:
        check_dataset('train', dataset, seg_dataset)
        return
    with pytest.raises(ValueError, match=message):
        check_dataset('train', dataset, seg_dataset)


def test_files_of_label_maps(maps, seg_dataset, tmp_path):
    (tmp_path / 'maps/c.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'must be images, but .*c\.png of train is not'):
        check_dataset('train', maps(), seg_dataset)
    cv2.imwrite(str(tmp_path / 'maps/c.png'), np.ones((4, 5), np.uint8))
    with pytest.raises(ValueError, match=r'the size of their images, but .*c\.png of train is \(4, 5\) and .*\(4, 6\)'):
        check_dataset('train', maps(), seg_dataset)
    (tmp_path / 'maps/c.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'must not be empty, but 1 are: .*c\.png'):
        check_dataset('train', maps(), seg_dataset)
    (tmp_path / 'maps/c.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 files of train are missing: .*c\.png'):
        check_dataset('train', maps(), seg_dataset)
    with pytest.raises(FileNotFoundError, match=r'images must hold images \*\.jpeg for train, but holds none'):
        check_dataset('train', maps(img_suffix='.jpeg'), seg_dataset)


def test_label_maps_are_read_for_some_seconds(maps, seg_dataset, monkeypatch):
    dataset = maps((1, 2, 9), reduce_zero_label=True)  # the second of three; the first is read first
    monkeypatch.setattr('mmmaskany.engine.checks.data.SECONDS', -1)
    check_dataset('train', dataset, seg_dataset)
    monkeypatch.setattr('mmmaskany.engine.checks.data.SECONDS', 10)
    with pytest.raises(ValueError, match=r'b\.png .* but holds 9'):
        check_dataset('train', dataset, seg_dataset)


def test_every_label_map_is_checked_when_it_is_loaded(maps, seg_dataset):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations'), dict(type='mmseg.PackSegInputs')]
    dataset = SeededDataset(
        dict(maps((1, 2, 3), reduce_zero_label=True, pipeline=pipeline), type='mmseg.BaseSegDataset')
    )
    assert isinstance(dataset[0]['data_samples'].gt_sem_seg, PixelData)
    with pytest.raises(ValueError, match=r'b\.png must hold the ids of 2 classes, 1 to 2, .* but holds 3'):
        dataset[1]


def test_check_label_map():
    check_label_map(np.array([[0, 4, 255]]), 5, 255, False, 'a.png')
    check_label_map(np.array([[0, 4, 7]]), 5, 7, False, 'a.png')
    with pytest.raises(ValueError, match='a.png must hold the ids of 5 classes, 0 to 4, but holds 255'):
        check_label_map(np.array([[0, 4, 255]]), 5, 7, False, 'a.png')


# ---------------------------------------------------------------------- through the launch


def test_launch_looks_at_the_data_once(coco, tmp_path, monkeypatch):
    pytest.importorskip('mmdet')
    coco(annotations=box(99, 99, 9, 9))
    files = dict(data_root=str(tmp_path), ann_file='set.json', metainfo=dict(classes=('cat', 'dog')))
    dataset = dict(type='RepeatDataset', times=2, dataset=dict(type='CocoDataset', **files))
    cfg = Config(dict(default_scope='mmdet', work_dir=str(tmp_path / 'run'), train_dataloader=dict(dataset=dataset)))
    with pytest.raises(ValueError, match=r'lie outside: annotation 7'):
        launch.check_files(cfg, ('train',))
    assert not (tmp_path / 'run').exists()
    monkeypatch.setenv('RANK', '1')
    launch.check_files(cfg, ('train',))


def test_checkpoints_to_start_from(tmp_path):
    path = tmp_path / 'classifier.pth'
    init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    model = Config(dict(model=dict(backbone=dict(init_cfg=init_cfg), heads=[dict(init_cfg=dict(type='Normal'))]))).model
    with pytest.raises(
        FileNotFoundError, match=r'model\.backbone\.init_cfg\.checkpoint must be an existing file .*pth'
    ):
        launch.check_pretrained(model)
    path.write_text('<html>not found</html>')
    with pytest.raises(ValueError, match=r'classifier\.pth must be a complete PyTorch file'):
        launch.check_pretrained(model)
    torch.save(dict(state_dict={'conv1.weight': torch.zeros(1)}), path)
    with pytest.raises(
        ValueError, match=r"must begin with 'backbone\.', but it has \['conv1\.weight'\]; --cfg-options model\.backbone"
    ):
        launch.check_pretrained(model)
    for good in (dict(state_dict={'backbone.conv1.weight': torch.zeros(1)}), {'backbone.conv1.weight': torch.zeros(1)}):
        torch.save(good, path)
        launch.check_pretrained(model)
    init_cfg['checkpoint'] = 'torchvision://resnet50'
    launch.check_pretrained(Config(dict(model=[dict(init_cfg=init_cfg)])).model)
