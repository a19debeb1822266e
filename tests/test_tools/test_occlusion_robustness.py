# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import csv
import json
import runpy
from pathlib import Path

import cv2
import pytest
import torch

from mmmaskany.apis.classifiers import Candidate, load_classifier
from mmmaskany.evaluation import occlude, occlusion_mask
from mmmaskany.masking import ConstantFill, GridPattern, LayerMasking, RandomPattern

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def occlusion():
    return runpy.run_path(str(ROOT / 'tools/analysis_tools/occlusion_robustness.py'))


def model(folder, label, epoch=2):
    return ['--model', label, str(folder / 'tiny.py'), str(folder / f'epoch_{epoch}.pth')]


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_curves_are_those_of_the_model_by_hand(occlusion, trained, tmp_path, capsys):
    options = ['--patterns', 'grid', 'patch', '--ratios', '0.25', '0.5', '--cell', '4', '--seed', '5', '--fill', 'mean']
    command = ['--out', str(tmp_path), *model(trained, 'two'), *model(trained, 'one', 1), *options]
    assert occlusion['main'](command) == 0
    rows = read(tmp_path / 'occlusion.csv')
    assert [(row['label'], row['pattern'], row['masked']) for row in rows[:6]] == [
        *(('two', 'grid', masked) for masked in ('0.0', '0.24', '0.52')),  # 6 and 13 of the 25 cells
        *(('two', 'patch', masked) for masked in ('0.0', '0.25', '0.5')),
    ]
    assert len(rows) == 12 and {row['images'] for row in rows} == {'12'}

    # The whole images: what the training's last validation, of the same weights, logged.
    log = next(trained.glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert float(rows[0]['top-1 (%)']) == pytest.approx(json.loads(log[-1])['accuracy/top1'], abs=1e-3)
    # The masked ones: the model's own argmax of masked images, normalised, with 0 as the mean colour.
    loaded = load_classifier(Candidate('', trained / 'tiny.py', trained / 'epoch_2.pth'))
    batches = list(loaded.batches())
    inputs = torch.cat([images for images, _ in batches])
    labels = torch.cat([sample.gt_label for _, samples in batches for sample in samples])
    assert len(inputs) == 12 and inputs.mean().abs() < 1
    pattern = GridPattern(ratio=0.5, cell=4, base=1)
    masked = occlude(inputs, pattern, ConstantFill(0.0), seed=5)
    assert ((masked == 0).all(1).float().mean((1, 2)) >= 0.52).all()
    with torch.no_grad():
        right = (loaded.model(masked).argmax(1) == labels).double().mean().item()
    assert float(rows[2]['top-1 (%)']) == pytest.approx(100 * right, abs=1e-3)

    table = (tmp_path / 'occlusion.md').read_text().splitlines()
    assert table[0] == '| pattern | masked (%) | two, top-1 (%) | one, top-1 (%) |'
    assert table[4].startswith('| grid | 52.0 | ') and len(table) == 2 + 2 * 4
    mean = sum(float(row['top-1 (%)']) for row in rows[:3]) / 3
    assert table[5].startswith(f'| grid | mean | {mean:.2f} | ')
    svg = (tmp_path / 'occlusion.svg').read_text()
    for text in ('grid masks', 'two', '12 test images, masked pixels filled with the mean colour'):
        assert f'<!-- {text} -->' in svg
    assert '| grid | mean |' in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / 'occlusion.png')).shape == (405, 1080, 3)


def test_masked_layers_are_those_of_the_model_by_hand(occlusion, trained, tmp_path):
    options = ['--patterns', 'random', '--ratios', '0.25', '0.5', '--cell', '4', '--seed', '5', '--fill', 'layers']
    assert occlusion['main'](['--out', str(tmp_path), *model(trained, 'two'), *options]) == 0
    rows = read(tmp_path / 'occlusion.csv')
    loaded = load_classifier(Candidate('', trained / 'tiny.py', trained / 'epoch_2.pth'))
    batches = list(loaded.batches())
    inputs = torch.cat([images for images, _ in batches])
    labels = torch.cat([sample.gt_label for _, samples in batches for sample in samples])
    right = []
    for ratio in (0.25, 0.5):
        mask = occlusion_mask(inputs, RandomPattern(ratio=ratio, cell=4, base=1), seed=5)
        hidden = inputs.masked_fill(mask, torch.nan)  # whatever is there
        with torch.no_grad(), LayerMasking(loaded.model, (20, 20)).masked(hidden, mask) as visible:
            right.append(100 * (loaded.model(visible).argmax(1) == labels).double().mean().item())
    assert [float(row['top-1 (%)']) for row in rows[1:]] == pytest.approx(right, abs=1e-3)
    assert '12 test images, masked pixels hidden from every layer' in (tmp_path / 'occlusion.svg').read_text()


def test_checkpoints_of_one_label_are_a_curve_with_spread(occlusion, trained, tmp_path):
    models = [*model(trained, 'both'), *model(trained, 'both', 1)]
    options = ['--patterns', 'random', '--ratios', '0.5', '--num-images', '6']
    assert occlusion['main'](['--out', str(tmp_path), *models, *options]) == 0
    first = (tmp_path / 'occlusion.csv').read_bytes()
    rows = read(tmp_path / 'occlusion.csv')
    assert {row['images'] for row in rows} == {'6'} and len({row['checkpoint'] for row in rows}) == 2
    values = [float(row['top-1 (%)']) for row in rows if row['masked'] == '0.0']
    line = (tmp_path / 'occlusion.md').read_text().splitlines()[2]
    assert line == f'| random | 0.0 | {sum(values) / 2:.2f} ± {abs(values[0] - values[1]) / 2**0.5:.2f} |'
    assert 'band: one standard deviation' in (tmp_path / 'occlusion.svg').read_text()
    assert occlusion['main'](['--out', str(tmp_path), *models, *options]) == 0
    assert (tmp_path / 'occlusion.csv').read_bytes() == first


def test_black_is_black(occlusion):
    preprocessor = torch.nn.Module()
    assert occlusion['build_fill']('black', preprocessor).value == 0
    with pytest.raises(ValueError, match="needs the data's mean"):
        occlusion['build_fill']('mean', preprocessor)
    preprocessor.mean, preprocessor.std = torch.tensor([[[10.0]], [[20.0]]]), torch.tensor([[[5.0]], [[5.0]]])
    assert occlusion['build_fill']('black', preprocessor).value == [-2.0, -4.0]
    assert occlusion['build_fill']('mean', preprocessor).value == 0


def test_what_does_not_fit_is_an_error_without_traceback(occlusion, trained, tiny_config, tmp_path, capsys):
    tiny, checkpoint = str(trained / 'tiny.py'), str(trained / 'epoch_2.pth')
    deeper = tiny_config('deeper', model=dict(backbone=dict(backbone=dict(depth=34))))
    plain = dict(_delete_=True, type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    plain = tiny_config('plain', model=dict(backbone=plain))
    detector = str(ROOT / 'configs/detection/mask-rcnn_r18-narrow_fpn_8e_digits.py')
    for config, file, more, message in (
        (tiny, 'nope.pth', [], 'must be an existing file, but got nope.pth'),
        (deeper, checkpoint, [], f'checkpoint {checkpoint} must hold the tensors of this ImageClassifier'),
        (plain, checkpoint, [], 'tensors have no place there (backbone.relu.reused.conv1.weight, '),
        (detector, checkpoint, [], 'must be the config of a classifier, but is of mmdet'),
        (tiny, checkpoint, ['--ratios', '1.5'], 'ratio must be in (0, 1), but got 1.5'),
        (tiny, checkpoint, ['--patterns', 'stripes'], "must be one of ['patch', 'grid'"),
        (tiny, checkpoint, ['--metric', 'mIoU'], "must be one that the test_evaluator gives, ['accuracy/top1']"),
        (tiny, checkpoint, ['--num-images', '0'], 'must be at least 1, but got 0'),
    ):
        assert occlusion['main'](['--out', str(tmp_path / 'out'), '--model', 'x', config, file, *more]) == 1
        error = capsys.readouterr().err
        assert 'error: ' in error and message in error
    assert not (tmp_path / 'out').exists()  # nothing is written before all is measured
