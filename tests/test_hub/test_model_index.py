# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Models are found by their names: by mmpretrain itself, and by ``resolve`` for the other libraries."""

import importlib
import re
import runpy
import sys
from collections import OrderedDict
from pathlib import Path

import cv2
import mmpretrain.apis
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import save_checkpoint

from mmmaskany.hub import register
from mmmaskany.hub.model_index import load_models, resolve

HUB = 'mmpretrain.apis.model'
ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs/inference.md'
NARROW = 'maskany_resnet18-narrow_1xb32-coslr-8e_digits'


def test_every_model_is_resolved_by_its_name():
    models = load_models()
    assert len(models) > 100
    for model in models:
        config, checkpoint = resolve(model['Name'].upper())
        assert Path(config).is_file() and Path(config).stem == model['Name']
        assert checkpoint == model.get('Weights')


def test_an_unknown_name_is_answered_with_those_spelled_alike():
    with pytest.raises(ValueError, match=f"got 'maskany_resnet18-narow'; spelled alike are {NARROW}"):
        resolve('maskany_resnet18-narow')


def test_a_published_checkpoint_is_returned(monkeypatch):
    entry = dict(Name='A', Config='configs/a.py', Weights=['https://host/a.pth'])
    monkeypatch.setattr('mmmaskany.hub.model_index._models', lambda: {'a': entry})
    assert resolve('A') == (str(ROOT / 'configs/a.py'), 'https://host/a.pth')


@pytest.mark.parametrize('asked', [False, True])
def test_mmpretrain_lists_our_models_whenever_they_are_registered(asked, monkeypatch):
    # mmpretrain's hub as it is where nothing of ours was imported; that of the other tests comes back afterwards.
    monkeypatch.delitem(sys.modules, HUB)
    hub = importlib.import_module(HUB)
    monkeypatch.setattr(mmpretrain.apis, 'ModelHub', hub.ModelHub)
    monkeypatch.setattr(mmpretrain.apis, 'model', sys.modules[HUB])
    if asked:
        assert 'resnet50_8xb32_in1k' in hub.list_models() and not hub.list_models('maskany_')
    register()
    register()  # once is enough
    assert asked or not hub.ModelHub._models_dict  # nothing is read before it is asked for

    names = hub.list_models()
    assert names == hub.list_models() and 'resnet50_8xb32_in1k' in names
    downstream = {'Object Detection', 'Instance Segmentation', 'Semantic Segmentation'}
    own = {model['Name'] for model in load_models() if not downstream & {result['Task'] for result in model['Results']}}
    assert len(own) > 150 and own <= set(names) and NARROW in hub.list_models('maskany_*', task='Image Classification')
    assert not any('mask-rcnn' in name or 'upernet' in name for name in names)
    # The twin that is mmpretrain's own recipe, by its name, stays mmpretrain's, which has weights.
    assert hub.ModelHub.get('mocov2_resnet50_8xb32-coslr-200e_in1k').weights.startswith('https://')
    assert (
        hub.ModelHub.get('mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k').config.model.type == 'mmmaskany.MixMaskMoCo'
    )
    assert hub.ModelHub.get(NARROW).config.model.backbone.type == 'mmmaskany.MaskAny'


@pytest.fixture
def quickstart(tmp_path, monkeypatch):
    """Go where the quickstart might have run: its data, and untrained checkpoints under the names of its own."""
    runpy.run_path(str(ROOT / 'tools/dataset_converters/digits.py'))['main'](['--data-root', str(tmp_path / 'data')])
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    runs = (
        (f'maskany/{NARROW}', 'MaskAny/epoch_8.pth'),
        ('detection/mask-rcnn_maskany-r18-narrow_fpn_8e_digits', 'detection/epoch_8.pth'),
        ('segmentation/maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96', 'segmentation/iter_300.pth'),
    )
    for config, file in runs:
        cfg = Config.fromfile(f'configs/{config}.py')
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model)
        classes = cfg.get('metainfo', dict(classes=tuple('0123456789')))
        checkpoint = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes)))
        path = Path('work_dirs/quickstart', file)
        path.parent.mkdir(parents=True)
        save_checkpoint(checkpoint, str(path))
    return tmp_path


def test_every_example_of_the_page_runs(quickstart, capsys, monkeypatch):
    """In the order of the page, as in one new session of Python."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())  # no scope of an earlier test
    blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    space = {}
    for block in blocks:
        exec(compile(block, str(PAGE), 'exec'), space)
    names = [model['Name'] for model in load_models()]
    listed = sorted(name for name in names if name.startswith('maskany_resnet18-narrow') and name.endswith('digits'))
    assert NARROW in listed
    assert f'{listed}' in capsys.readouterr().out

    # By name, by path, one by one or in a batch: what the model itself says of the image, normalised here by hand.
    image = torch.from_numpy(cv2.imread(space['image']).transpose(2, 0, 1))
    scores = space['model'](((image - 79.6) / 90.8)[None], mode='tensor').softmax(-1)[0].detach().numpy()
    for result in (space['result'], space['results'][0], space['by_path']):
        np.testing.assert_allclose(result['pred_scores'], scores, atol=1e-4)
    assert len(space['results']) == 2
    with pytest.raises(AssertionError):  # the two images differ
        np.testing.assert_allclose(space['results'][1]['pred_scores'], scores, atol=1e-6)

    assert len(space['found']['labels']) == len(space['found']['scores']) == len(space['found']['bboxes'])
    image = cv2.imread('data/digits_ade/images/validation/val_000.jpg')
    assert space['label_map'].shape == image.shape[:2] and space['label_map'].max() < 11
    assert space['segmentor'].visualizer.dataset_meta['classes'][0] == 'background'
    lines = re.findall(r'^By path: `(?:Det|MMSeg)Inferencer\(\'(.*)\', CHECKPOINT\)`', PAGE.read_text(), re.MULTILINE)
    assert [Path(line).resolve() for line in lines] == [Path(resolve(Path(line).stem).config) for line in lines]
    assert len(lines) == 2
    assert len(list(Path('work_dirs/inference').rglob('*.*'))) >= 3  # predictions and pictures
