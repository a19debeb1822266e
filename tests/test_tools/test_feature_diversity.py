# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import csv
import runpy
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmmaskany.analysis.candidates import Candidate, load_candidate
from mmmaskany.analysis.diversity import centroid_accuracy, effective_rank, fisher_ratio, linear_cka
from mmmaskany.masking import half_size

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def diversity():
    return runpy.run_path(str(ROOT / 'tools/analysis_tools/feature_diversity.py'))


def test_measures_are_those_of_the_model_by_hand(diversity, trained, tmp_path, capsys):
    tiny = str(trained / 'tiny.py')
    models = [['--model', 'tiny', tiny, str(trained / f'epoch_{epoch}.pth')] for epoch in (2, 1)]
    assert diversity['main'](['--out', str(tmp_path), *models[0], *models[1]]) == 0
    with (tmp_path / 'diversity.csv').open() as file:
        first, second = csv.DictReader(file)
    assert (first['images'], first['features']) == ('12', '32') and first['rank'] != second['rank']

    loaded = load_candidate(Candidate('', tiny, trained / 'epoch_2.pth'))
    batches = list(loaded.batches())
    images = torch.cat([images for images, _ in batches])
    labels = torch.cat([sample.gt_label for _, samples in batches for sample in samples])
    backbone, stem = loaded.model.backbone, loaded.model.backbone.dual_stem
    with torch.no_grad():
        features = backbone(images)[-1].mean((2, 3))
        # The stem of a CIFAR ResNet has stride 1: the features of its half-size image are enlarged before the fusion.
        visible = backbone.relu.visible(backbone.norm1(backbone.conv1(images)))
        reused = torch.nn.functional.interpolate(stem.reused(half_size(images)), (20, 20), mode='bilinear')
    places = [index * 20 // 8 for index in range(8)]
    maps = [map[:, :, places][..., places].movedim(1, 3).flatten(0, 2) for map in (visible, reused)]
    assert maps[0].shape == (12 * 64, 4)
    by_hand = dict(
        rank=effective_rank(features),
        fisher=fisher_ratio(features, labels),
        centroid=100 * centroid_accuracy(features, labels),
        cka=linear_cka(*maps),
    )
    assert {key: float(first[key]) for key in by_hand} == pytest.approx(by_hand, rel=1e-4)

    table = (tmp_path / 'diversity.md').read_text().splitlines()
    ranks = [float(row['rank']) for row in (first, second)]
    spread = abs(ranks[0] - ranks[1]) / 2**0.5
    assert table[2].startswith(f'| tiny | {sum(ranks) / 2:.2f} ± {spread:.2f} of 32 |') and table[2].endswith(
        '| 2 | 12 |'
    )
    svg = (tmp_path / 'diversity.svg').read_text()
    for title in diversity['MEASURES'].values():
        assert f'<!-- {title} -->' in svg
    assert cv2.imread(str(tmp_path / 'diversity.png')).shape[1] == 1080
    assert table[2] in capsys.readouterr().out


def test_a_plain_network_has_no_second_stem(diversity, tiny_config, tmp_path):
    plain = dict(_delete_=True, type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    config = tiny_config('plain', model=dict(backbone=plain))
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
    model = MODELS.build(Config.fromfile(config).model)
    torch.save(model.state_dict(), tmp_path / 'plain.pth')
    row = diversity['measure'](Candidate('plain', config, tmp_path / 'plain.pth'))
    assert row['cka'] is None and row['rank'] > 1
    other = dict(row, label='MaskAny', cka=0.5)
    table = diversity['write_table']([row, other], tmp_path / 'x.md').splitlines()
    assert '|  | 1 | 12 |' in table[2] and '| 0.50 | 1 | 12 |' in table[3]
    assert '<!-- no second stem -->' in diversity['draw']([row, other], tmp_path / 'x')[1].read_text()
    assert '<!-- linear CKA between stems -->' not in diversity['draw']([row], tmp_path / 'y')[1].read_text()


def test_features_of_any_backbone_are_a_matrix(diversity):
    pooled, at_places = diversity['pooled'], diversity['at_places']
    assert torch.equal(pooled((torch.zeros(2, 3), torch.ones(2, 5))), torch.ones(2, 5))
    assert torch.equal(
        pooled([[torch.zeros(2, 9), torch.ones(2, 5)]]), torch.ones(2, 5)
    )  # patch tokens and class token
    assert torch.equal(pooled((torch.arange(8.0).view(1, 2, 2, 2),)), torch.tensor([[1.5, 5.5]]))
    maps = torch.arange(2 * 3 * 16 * 4).view(2, 3, 16, 4)
    rows = at_places(maps)
    assert rows.shape == (2 * 8 * 4, 3)
    assert rows[0].tolist() == [0, 64, 128] and rows[4].tolist() == [8, 72, 136]  # the next row but one
