# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json

import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from safetensors.torch import save_file

from mmmaskany.checkpoints.normalisation import Normalisation, find_normalisation
from mmmaskany.checkpoints.reading import read_weights

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)


def test_the_config_in_a_file_is_read_and_not_run():
    text = "x = __import__('os').getcwd()\n"
    text += 'model = dict(data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True))'
    found = find_normalisation('a.pth', dict(meta=dict(cfg=text)))
    assert (found.mean, found.std, found.to_rgb) == ((1, 2, 3), (4, 5, 6), True)
    assert find_normalisation('a.pth', dict(meta=dict(cfg='no Python ('))) is None
    assert find_normalisation('a.pth', dict(meta=dict(cfg='data_preprocessor = dict(type=X)'))) is None


def test_what_timm_writes_beside_its_file(tmp_path):
    save_file(dict(w=torch.ones(1)), tmp_path / 'model.safetensors')
    cfg = dict(mean=[0.5] * 3, std=[0.25] * 3, input_size=[3, 240, 240], crop_pct=0.9, interpolation='bicubic')
    (tmp_path / 'config.json').write_text(json.dumps(dict(architecture='a', pretrained_cfg=cfg)))
    found = read_weights(tmp_path / 'model.safetensors').normalisation
    assert found[:6] == ((127.5,) * 3, (63.75,) * 3, True, 'bicubic', 240, 0.9)
    (tmp_path / 'config.json').write_text('{"pretrained_cfg": {}}')
    assert read_weights(tmp_path / 'model.safetensors').normalisation is None


def test_names_under_which_files_are_published():
    assert find_normalisation('efficientnet-lite0-57934424.pth', {}).mean == (127.5,) * 3
    torchvision = pytest.importorskip('torchvision')
    url = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.url
    found = find_normalisation(url, {})
    assert found.mean == pytest.approx(IMAGENET['mean']) and (found.size, found.crop) == (224, 0.9655)
    assert 'torchvision says so' in found.source
    assert find_normalisation('my_network.pth', {}) is None


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({}, ''),
        (dict(bgr_to_rgb=False), 'BGR channels instead of RGB'),
        (dict(mean=[127.5] * 3), 'mean [127.5, 127.5, 127.5] instead of [123.675, 116.28, 103.53]'),
        (dict(std=[1.0, 1.0, 1.0]), 'std [1.0, 1.0, 1.0] instead of'),
        (dict(mean=None, std=None), 'mean [0.0, 0.0, 0.0] instead of'),
    ],
)
def test_where_a_config_normalises_otherwise(changes, text):
    wanted = Normalisation(tuple(IMAGENET['mean']), tuple(IMAGENET['std']))
    said = wanted.differs_from(ImgDataPreprocessor(**dict(IMAGENET, **changes)))
    assert text in said and bool(said) is bool(text)
