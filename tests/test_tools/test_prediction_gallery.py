# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import copy
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, VISUALIZERS, init_default_scope

ROOT = Path(__file__).parents[2]
CONFIGS = {
    'mmdet': ROOT / 'configs/detection/mask-rcnn_maskany-r18-narrow_fpn_8e_digits.py',
    'mmseg': ROOT / 'configs/segmentation/maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96.py',
}


@pytest.fixture(scope='module')
def gallery():
    return runpy.run_path(str(ROOT / 'tools/visualization/prediction_gallery.py'))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('digits')
    converter = runpy.run_path(str(ROOT / 'tools/dataset_converters/digits.py'))
    converter['main'](['--data-root', str(folder / 'data')])
    return folder


@pytest.fixture(params=CONFIGS)
def model(request, data, tmp_path, monkeypatch):
    """The config of a library, and a checkpoint of its model as it is before training."""
    pytest.importorskip(request.param)
    monkeypatch.chdir(data)
    cfg = Config.fromfile(CONFIGS[request.param])
    init_default_scope(request.param)
    torch.manual_seed(0)
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'epoch_1.pth')
    return cfg, tmp_path / 'epoch_1.pth'


def test_panels_show_image_truth_and_prediction(gallery, model):
    cfg, checkpoint = model
    samples = gallery['predict'](cfg, str(checkpoint), 2)
    names = [Path(sample.img_path).stem for sample in samples]
    assert names == ['val_026', 'val_052']  # of 80, at a third and at two thirds
    visualizer = VISUALIZERS.build(dict(cfg.visualizer, vis_backends=None, name='test'))
    for sample in samples:
        before = copy.deepcopy(sample)
        image, truth, _ = gallery['panels'](sample, visualizer, 0.0)
        height, width = sample.ori_shape
        times = image.shape[0] // height
        assert image.shape == truth.shape == (times * height, times * width, 3) and times > 1
        assert np.array_equal(image[::times, ::times], cv2.imread(sample.img_path)[..., ::-1])
        assert not np.array_equal(image, truth)
        if cfg.default_scope == 'mmdet':  # the library's samples stay as they were
            assert torch.equal(sample.pred_instances.bboxes, before.pred_instances.bboxes)
            box, mask = (sample.gt_instances.bboxes, sample.gt_instances.masks)
            large = gallery['enlarge'](sample, times).gt_instances
            assert torch.equal(torch.as_tensor(large.bboxes), torch.as_tensor(box) * times)
            assert large.masks.masks.sum() == mask.masks.sum() * times**2
        else:
            assert torch.equal(sample.gt_sem_seg.data, before.gt_sem_seg.data)
            large = gallery['enlarge'](sample, times).gt_sem_seg.data
            assert torch.equal(large[..., ::times, ::times], sample.gt_sem_seg.data)


def test_gallery_is_written(gallery, model, tmp_path, capsys):
    cfg, checkpoint = model
    out = tmp_path / 'sheets/sheet.png'
    assert gallery['main']([str(cfg.filename), str(checkpoint), '--out', str(out), '--num-images', '2']) == 0
    assert cv2.imread(str(out)).std() > 30
    assert gallery['main']([str(cfg.filename), str(tmp_path / 'none.pth')]) == 2
    assert 'none.pth' in capsys.readouterr().err


def test_gallery_refuses_classifiers(gallery, capsys):
    config = ROOT / 'configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'
    assert gallery['main']([str(config), 'epoch_1.pth']) == 2
    assert 'must be one of mmdet or mmseg, but is one of mmpretrain' in capsys.readouterr().err
