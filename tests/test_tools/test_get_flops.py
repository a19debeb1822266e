# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Multiply-accumulates and parameters, by hand for a small network and as parts of the libraries' models."""

import json
import math
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmmaskany.inference.samples import draw_batch

CLASSES, WIDTH, HIDDEN = 10, 8, 16


@pytest.fixture
def vit(tiny_config):
    """MaskAny around a vision transformer of one layer, with patches of 8 px."""
    arch = dict(embed_dims=WIDTH, num_layers=1, num_heads=2, feedforward_channels=HIDDEN)
    host = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=32, patch_size=8)
    masking = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8))
    backbone = dict(_delete_=True, type='mmmaskany.MaskAny', backbone=host, masking=masking)
    head = dict(_delete_=True, type='VisionTransformerClsHead', num_classes=CLASSES, in_channels=WIDTH)
    return tiny_config(model=dict(backbone=backbone, neck=None, head=head))


def test_by_hand(vit, tool, tmp_path, capsys):
    rows = tool('analysis_tools/get_flops')([vit, '--shape', '32', '48', '--out', str(tmp_path / 'macs.json')])
    patches = 4 * 6
    tokens = patches + 1  # the class token
    visible = patches * 3 * 8 * 8 * WIDTH
    reused = patches * 3 * 4 * 4 * WIDTH
    attention = tokens * WIDTH * 3 * WIDTH + 2 * tokens * tokens * WIDTH + tokens * WIDTH * WIDTH
    layer = attention + 2 * tokens * WIDTH * HIDDEN
    assert rows['reused stem']['macs'] == reused
    assert rows['backbone']['macs'] == visible + reused + layer
    assert rows['total']['macs'] == visible + reused + layer + WIDTH * CLASSES

    # Kernel, bias and one scale per channel.
    assert rows['reused stem']['parameters'] == 3 * 4 * 4 * WIDTH + WIDTH + WIDTH
    norms, weights = 3 * 2 * WIDTH, 4 * WIDTH * WIDTH + 4 * WIDTH + 2 * WIDTH * HIDDEN + HIDDEN + WIDTH
    embeddings = 3 * 8 * 8 * WIDTH + WIDTH + (4 * 4 + 1) * WIDTH + WIDTH
    own = norms + weights + embeddings + rows['reused stem']['parameters']
    assert rows['backbone']['parameters'] == own
    assert rows['total']['parameters'] == own + WIDTH * CLASSES + CLASSES

    assert json.loads((tmp_path / 'macs.json').read_text())['counts'] == rows
    text = capsys.readouterr().out
    assert 'one image of 32 x 48 px; 1 MAC (multiply-accumulate) = 2 FLOPs' in text
    assert f'| total | {rows["total"]["parameters"]:,} | 0.000 G | 0.000 G |' in text


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_detector_and_segmentor(library, write_library_config, tool, tmp_path):
    pytest.importorskip(library)
    config = write_library_config(tmp_path, library)
    small, large = (tool('analysis_tools/get_flops')([config, '--shape', str(side), '128']) for side in (128, 256))
    # Convolutions alone: twice the image is twice the work. The stem is one of 7 x 7 / 2 on the image at half size.
    assert small['reused stem']['macs'] == 32 * 32 * 3 * 7 * 7 * 4
    for part in ('backbone', 'reused stem', 'total'):
        assert large[part] == dict(small[part], macs=2 * small[part]['macs'])
        assert small[part]['macs'] > 0
    assert small['reused stem']['macs'] < small['backbone']['macs'] < small['total']['macs']


def test_needs_a_size(vit, tool, capsys):
    with pytest.raises(SystemExit):
        tool('analysis_tools/get_flops')([vit, '--shape', '0', '32'])
    assert '--shape must be positive, but got 0 32' in capsys.readouterr().err


def test_a_detector_of_one_class():
    pytest.importorskip('mmdet')
    cfg = Config.fromfile(Path(__file__).parents[2] / 'configs/detection/mask-rcnn_r18-narrow_fpn_8e_digits.py')
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = 1
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model).train()
    batch = draw_batch(model, 'mmdet', 2, (64, 64))
    assert all(sample.gt_instances.labels.tolist() == [0] * 7 for sample in batch['data_samples'])
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    assert math.isfinite(float(losses['loss_mask']))
