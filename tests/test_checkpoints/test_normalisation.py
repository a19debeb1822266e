# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json

import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from safetensors.torch import save_file

from mmmaskany.checkpoints.normalisation import Normalisation, find_normalisation, normalisation_of
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


HALF = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3)


@pytest.mark.parametrize(
    ('cfg', 'expected'),
    [
        # As those of ViT, ConvNeXt, DINOv2 and MobileViT say.
        (dict(HALF, do_normalize=True, resample=2, size=224), ((127.5,) * 3, (127.5,) * 3, True, 'bilinear', 224, 1.0)),
        (
            dict(
                HALF, do_rescale=True, rescale_factor=1 / 255, resample=3, size=dict(shortest_edge=224), crop_pct=0.875
            ),
            ((127.5,) * 3, (127.5,) * 3, True, 'bicubic', 224, 0.875),
        ),
        (
            dict(
                HALF,
                resample=3,
                size=dict(shortest_edge=256),
                crop_size=dict(height=224, width=224),
                do_center_crop=True,
            ),
            ((127.5,) * 3, (127.5,) * 3, True, 'bicubic', 224, 0.875),
        ),
        (
            dict(
                do_flip_channel_order=True,
                do_normalize=False,
                size=dict(shortest_edge=288),
                crop_size=256,
                resample=2,
                do_center_crop=True,
            ),
            ((0,) * 3, (255,) * 3, False, 'bilinear', 256, 0.8889),
        ),
        (dict(HALF, do_rescale=False), ((0.5,) * 3, (0.5,) * 3, True, None, None, 1.0)),
        (
            dict(HALF, rescale_factor=1 / 127.5, size=dict(height=20, width=30)),
            ((63.75,) * 3, (63.75,) * 3, True, None, None, 1.0),
        ),
        (dict(HALF, crop_pct=0.875, size=384), ((127.5,) * 3, (127.5,) * 3, True, None, 384, 1.0)),
        (dict(HALF, rescale_offset=True), None),
        (dict(do_normalize=True), None),
        (dict(HALF, image_mean=0.5), None),
        ([], None),
    ],
)
@pytest.mark.parametrize('name', ['model.safetensors', 'pytorch_model.bin'])
def test_what_transformers_writes_beside_its_file(cfg, expected, name, tmp_path):
    (save_file if name.endswith('s') else torch.save)(dict(w=torch.ones(1)), tmp_path / name)
    (tmp_path / 'config.json').write_text(json.dumps(dict(architectures=['ViTModel'], hidden_size=8)))
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(cfg))
    found = read_weights(tmp_path / name).normalisation
    if expected is None:
        assert found is None
        return
    assert found.mean == pytest.approx(expected[0]) and found.std == pytest.approx(expected[1])
    assert found[2:6] == expected[2:] and found.source == f'{tmp_path}/preprocessor_config.json says so'


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
    said = wanted.differs_from(normalisation_of(ImgDataPreprocessor(**dict(IMAGENET, **changes))))
    assert text in said and bool(said) is bool(text)
