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

from mmmaskany.datasets.label_map import check_label_map
from mmmaskany.engine import launch
from mmmaskany.engine.checks.finding import Finding, settle
from mmmaskany.engine.seeding.dataset import SeededDataset

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


def test_every_label_map_is_checked_when_it_is_loaded(maps):
    pytest.importorskip('mmseg')
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


@pytest.fixture
def outside(tmp_path):
    """A COCO set with two boxes beside its image: its config, of an image whose id is given twice, too."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 60, 3), np.uint8))
    boxes = [dict(id=i, image_id=0, category_id=0, bbox=[99, 99, 9, 9], area=81, iscrowd=0) for i in (7, 8)]
    content = dict(
        images=[dict(id=0, file_name='a.png', width=60, height=40)],
        annotations=boxes,
        categories=[dict(id=0, name='cat')],
    )
    (tmp_path / 'set.json').write_text(json.dumps(content))
    return dict(data_root=str(tmp_path), ann_file='set.json', data_prefix=dict(img=''), metainfo=dict(classes=('cat',)))


def test_findings_are_settled():
    with pytest.raises(ValueError, match=r'^a: first \(2 more errors: `tools/misc/check_data.py CONFIG` lists all\)$'):
        settle(Finding('error', 'a', text) for text in ('first', 'second', 'third', 'first'))
    with pytest.raises(FileNotFoundError, match='^b: gone$'):
        settle([Finding('note', 'a', 'said'), Finding('error', 'b', 'gone', FileNotFoundError)])


def test_what_can_be_borne_is_logged_once(capfd):
    MMLogger.get_instance(uuid.uuid4().hex, log_level='INFO')
    settle([Finding('warning', 'a', 'odd'), Finding('note', 'a', 'derived'), Finding('warning', 'a', 'odd')])
    said = ''.join(capfd.readouterr())
    assert said.count('a: odd') == 1 and said.count('a: derived') == 1


def test_launch_looks_at_the_data_once(outside, tmp_path, monkeypatch):
    pytest.importorskip('mmdet')
    files = outside
    dataset = dict(type='RepeatDataset', times=2, dataset=dict(type='CocoDataset', **files))
    cfg = Config(dict(default_scope='mmdet', work_dir=str(tmp_path / 'run'), train_dataloader=dict(dataset=dataset)))
    with pytest.raises(ValueError, match=r'must lie in their image .*: annotation 7'):
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
