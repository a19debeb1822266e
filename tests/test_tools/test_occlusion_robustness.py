# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import csv
import json
import os
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from mmmaskany.analysis.candidates import Candidate, load_candidate
from mmmaskany.analysis.occlusion import (
    Pixels,
    _of_size,
    _without_padding,
    by_pattern,
    occlude,
    occlusion_mask,
    textures,
)
from mmmaskany.analysis.pasted_objects import PastedObjects
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
    loaded = load_candidate(Candidate('', trained / 'tiny.py', trained / 'epoch_2.pth'))
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
    for text in ('grid masks', 'two', '12 test images, masked pixels show the mean colour'):
        assert f'<!-- {text} -->' in svg
    assert '| grid | mean |' in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / 'occlusion.png')).shape == (405, 1080, 3)


def test_masked_layers_are_those_of_the_model_by_hand(occlusion, trained, tmp_path):
    options = ['--patterns', 'random', '--ratios', '0.25', '0.5', '--cell', '4', '--seed', '5', '--fill', 'layers']
    assert occlusion['main'](['--out', str(tmp_path), *model(trained, 'two'), *options]) == 0
    rows = read(tmp_path / 'occlusion.csv')
    loaded = load_candidate(Candidate('', trained / 'tiny.py', trained / 'epoch_2.pth'))
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
    assert '12 test images, masked pixels show nothing: no layer sees them' in (tmp_path / 'occlusion.svg').read_text()


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
    assert occlusion['main'](['--out', str(tmp_path / 'again'), *models, *options]) == 0
    assert (tmp_path / 'again/occlusion.csv').read_bytes() == first


def test_an_interrupted_measurement_goes_on(occlusion, trained, tmp_path, capsys, monkeypatch):
    options = ['--ratios', '0.5', '--num-images', '6', *model(trained, 'two'), *model(trained, 'one', 1)]
    whole = ['--out', str(tmp_path / 'whole'), '--patterns', 'grid', 'patch', *options]
    assert occlusion['main'](whole) == 0

    seen, own = [], occlusion['measure']
    globals_of_script = occlusion['measure_all'].__globals__

    def measure(loaded, ways, args, what):
        seen.append(what.rpartition(': ')[2])
        if len(seen) == 5:  # of the second model, the first pattern
            raise OSError('the disk is full')
        return own(loaded, ways, args, what)

    monkeypatch.setitem(globals_of_script, 'measure', measure)
    parts = ['--out', str(tmp_path / 'parts'), *whole[2:]]
    assert occlusion['main'](parts) == 2
    assert seen == ['whole images', 'grid masks', 'patch masks', 'whole images', 'grid masks']
    assert len(read(tmp_path / 'parts/occlusion.csv')) == 4  # the first model's
    del seen[:4]
    assert occlusion['main'](parts) == 0
    assert seen == ['grid masks', 'grid masks', 'patch masks']  # the one that failed, and what was left
    for name in ('occlusion.csv', 'occlusion.md'):
        assert (tmp_path / 'parts' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    capsys.readouterr()
    assert occlusion['main']([*parts, '--fill', 'mean']) == 2
    assert "must be a new folder or one with {'fill': 'black'}" in capsys.readouterr().err


def test_a_config_is_part_of_what_was_measured(occlusion, trained, tmp_path, capsys):
    other = tmp_path / 'other.py'
    other.write_text(f'_base_ = {str(trained / "tiny.py")!r}\nmodel = dict(data_preprocessor=dict(mean=[0.0] * 3))\n')
    options = ['--patterns', 'grid', '--ratios', '0.5', '0.5', '0.501']
    both = [*model(trained, 'a'), '--model', 'b', str(other), str(trained / 'epoch_2.pth')]
    for name, models in (('both', both), ('b', both[4:])):
        assert occlusion['main'](['--out', str(tmp_path / name), *options, *models]) == 0
    rows, alone = read(tmp_path / 'both/occlusion.csv'), read(tmp_path / 'b/occlusion.csv')
    assert rows[2:] == alone and rows[0]['top-1 (%)'] != rows[2]['top-1 (%)']
    assert len(rows) == 4  # ratios that hide the same are one
    table = (tmp_path / 'both/occlusion.md').read_text()
    assert '±' not in table
    # Edited, it is measured again.
    other.write_text(other.read_text().replace('0.0', '127.5'))
    assert occlusion['main'](['--out', str(tmp_path / 'both'), *options, *both]) == 0
    rows = read(tmp_path / 'both/occlusion.csv')
    assert [row['top-1 (%)'] for row in rows[:2]] == [row['top-1 (%)'] for row in rows[2:]]
    capsys.readouterr()
    assert occlusion['main'](['--out', str(tmp_path / 'c'), *options, *both[:4], *both[:4]]) == 2
    assert 'a label must have each checkpoint once' in capsys.readouterr().err


def test_images_of_other_sizes_are_not_compared(occlusion, trained, tmp_path, capsys):
    cfg = Config.fromfile(trained / 'tiny.py')
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Resize', scale=24))
    cfg.dump(tmp_path / 'larger.py')
    models = [*model(trained, 'a'), '--model', 'b', str(tmp_path / 'larger.py'), str(trained / 'epoch_2.pth')]
    command = ['--out', str(tmp_path), '--patterns', 'grid', '--ratios', '0.5', *models]
    assert occlusion['main'](command) == 2
    assert "images of one size, height and width, but got {'a': (20, 20), 'b': (24, 24)}" in capsys.readouterr().err


@pytest.mark.parametrize('fill', ['black', 'texture', 'image'])
def test_padding_is_neither_hidden_nor_counted(fill, trained):
    loaded = load_candidate(Candidate('', trained / 'tiny.py', trained / 'epoch_2.pth'), 3)
    sizes = [(20, 20), (32, 24), (24, 28)]
    images, others = torch.randn(2, 3, 3, 32, 28).unbind()
    samples = [DataSample(metainfo=dict(unpadded=size)) for size in sizes]
    turned = samples[1:] + samples[:1]
    hide = by_pattern('random', 0.5, loaded, fill, seed=3)
    partners = _of_size(others, turned, images, samples) if fill == 'image' else None
    with _without_padding(hide, images, samples, 40, partners) as (left, shares):
        pass
    for index, (height, width) in enumerate(sizes):
        whole = images[index : index + 1, :, :height, :width]
        partner = None
        if fill == 'image':
            rows, columns = turned[index].unpadded
            partner = torch.nn.functional.interpolate(
                others[index : index + 1, :, :rows, :columns], (height, width), mode='bilinear'
            )
        with hide(whole, 40 + index, partner) as (alone, (share,)):
            torch.testing.assert_close(left[index : index + 1, :, :height, :width], alone)
        hidden = (left[index] != images[index]).any(0)
        assert hidden[:height, :width].float().mean().item() == pytest.approx(share) == pytest.approx(shares[index])
        assert hidden.sum() == hidden[:height, :width].sum() > 0


def test_batches_say_how_large_images_were(trained):
    cfg = Config.fromfile(trained / 'tiny.py')
    cfg.model.data_preprocessor.pad_size_divisor = 32
    cfg.dump(trained / 'padded.py')
    loaded = load_candidate(Candidate('', trained / 'padded.py', trained / 'epoch_2.pth'))
    images, samples = next(iter(loaded.batches()))
    assert images.shape[2:] == (32, 32) and {sample.unpadded for sample in samples} == {(20, 20)}
    with pytest.raises(ValueError, match='images without padding, but data_preprocessor.pad_size_divisor is 32'):
        by_pattern('random', 0.5, loaded, 'layers')


def test_other_images_and_textures_are_what_masked_pixels_show(occlusion, trained, tmp_path):
    loaded = load_candidate(Candidate('', trained / 'tiny.py', trained / 'epoch_2.pth'), 7)
    inputs, labels = [torch.cat(parts) for parts in zip(*_inputs(loaded), strict=True)]
    partners = torch.cat([images for images, _ in loaded.batches(shift=3)])
    assert torch.equal(partners, inputs.roll(-3, 0)) and not torch.equal(partners, inputs)
    smooth = Pixels.of(loaded.model.data_preprocessor).seen(textures(7, 20, 20, seed=2))
    pattern = GridPattern(ratio=0.5, cell=4, base=1)
    for fill, content in (('image', partners), ('texture', smooth)):
        out = tmp_path / fill
        options = ['--patterns', 'grid', '--ratios', '0.5', '--cell', '4', '--num-images', '7', '--seed', '2']
        assert occlusion['main'](['--out', str(out), *options, '--fill', fill, *model(trained, 'x')]) == 0
        masked = occlude(inputs, pattern, lambda images, mask, c=content: torch.where(mask, c, images), seed=2)
        with torch.no_grad():
            right = (loaded.model(masked).argmax(1) == labels).double().mean().item()
        assert float(read(out / 'occlusion.csv')[1]['top-1 (%)']) == pytest.approx(100 * right, abs=1e-3)


def _inputs(loaded):
    for images, samples in loaded.batches():
        yield images, torch.cat([sample.gt_label for sample in samples])


@pytest.fixture(scope='module')
def crosses(tmp_path_factory):
    """Two photos of 64 px with a square of 40 px each, outlined."""
    folder = tmp_path_factory.mktemp('crosses')
    outline = [10, 10, 50, 10, 50, 50, 10, 50]
    for index in (0, 1):
        cv2.imwrite(str(folder / f'{index}.png'), np.full((64, 64, 3), 200 * index, np.uint8))
    images = [dict(id=index, file_name=f'{index}.png') for index in (0, 1)]
    annotations = [dict(image_id=index, bbox=[10, 10, 41, 41], segmentation=[outline]) for index in (0, 1)]
    (folder / 'objects.json').write_text(json.dumps(dict(images=images, annotations=annotations)))
    return folder


def test_pasted_objects(occlusion, trained, crosses, tmp_path):
    objects = ['--objects', str(crosses / 'objects.json'), str(crosses)]
    options = ['--patterns', '--ratios', '0.3', '0.6', *objects, *model(trained, 'x')]
    assert occlusion['main'](['--out', str(tmp_path), *options]) == 0
    rows = read(tmp_path / 'occlusion.csv')
    assert [row['pattern'] for row in rows] == ['objects'] * 3 and rows[0]['masked'] == '0.0'
    loaded = load_candidate(Candidate('', trained / 'tiny.py', trained / 'epoch_2.pth'))
    inputs, labels = [torch.cat(parts) for parts in zip(*_inputs(loaded), strict=True)]
    paste = PastedObjects(crosses / 'objects.json', crosses)
    pasted, shares = paste.paste(inputs, 0.6, Pixels.of(loaded.model.data_preprocessor))
    assert float(rows[2]['masked']) == pytest.approx(sum(shares) / 12, abs=1e-4) and 0.6 <= sum(shares) / 12 < 0.72
    with torch.no_grad():
        right = (loaded.model(pasted).argmax(1) == labels).double().mean().item()
    assert float(rows[2]['top-1 (%)']) == pytest.approx(100 * right, abs=1e-3)
    assert '<!-- pasted objects -->' in (tmp_path / 'occlusion.svg').read_text()


def test_other_objects_are_another_measurement(occlusion, trained, crosses, tmp_path, capsys):
    annotations = tmp_path / 'objects.json'
    annotations.write_bytes((crosses / 'objects.json').read_bytes())
    options = ['--out', str(tmp_path / 'out'), '--num-images', '1', '--ratios', '0.3', *model(trained, 'x')]
    command = [*options, '--patterns', '--objects', str(annotations), str(crosses)]
    assert occlusion['main'](command) == 0
    assert occlusion['main']([*command[:-1], f'{crosses}/../{crosses.name}']) == 0  # the same
    os.utime(annotations, ns=(1, 1))
    capsys.readouterr()
    assert occlusion['main'](command) == 2
    assert "must be a new folder or one with {'objects': " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        occlusion['main']([*command, '--fill', 'mean'])
    assert '--fill is for --patterns: objects show themselves' in capsys.readouterr().err
    assert occlusion['main']([*options, '--patterns', 'grid', '--fill', 'image', '--out', str(tmp_path / 'one')]) == 2
    assert 'at least 2 test images, but got 1' in capsys.readouterr().err


@pytest.mark.parametrize(('library', 'metric'), [('mmdet', 'box AP (%)'), ('mmseg', 'mIoU (%)')])
def test_detectors_and_segmentors(library, metric, occlusion, write_library_config, crosses, tool, tmp_path, capsys):
    pytest.importorskip(library)
    found = dict(test_cfg=dict(score_thr=0.0)) if library == 'mmdet' else {}  # an untrained one is sure of nothing
    config = write_library_config(tmp_path, library, model=found)
    cfg = Config.fromfile(config)
    init_default_scope(library)
    torch.manual_seed(0)
    network = MODELS.build(cfg.model)
    network.init_weights()
    torch.save(dict(state_dict=network.state_dict(), meta={}), tmp_path / 'network.pth')
    options = ['--patterns', 'grid', '--ratios', '0.3', '--fill', 'image']
    options += ['--objects', str(crosses / 'objects.json'), str(crosses)]
    command = ['--out', str(tmp_path / 'out'), *options, '--model', 'x', config, str(tmp_path / 'network.pth')]
    assert occlusion['main'](command) == 0
    rows = read(tmp_path / 'out/occlusion.csv')
    assert [row['pattern'] for row in rows] == ['grid', 'grid', 'objects', 'objects']
    assert {row['images'] for row in rows} == {'2'} and metric in rows[0]
    # The whole images: what tools/test.py says of the same file.
    capsys.readouterr()
    cfg.work_dir = str(tmp_path / 'work')
    metrics = Runner.from_cfg(dict(cfg, load_from=str(tmp_path / 'network.pth'))).test()
    key = 'coco/bbox_mAP' if library == 'mmdet' else 'mIoU'
    assert float(rows[0][metric]) == pytest.approx(metrics[key] * (100 if library == 'mmdet' else 1), abs=1e-2)
    assert library == 'mmdet' or metrics[key] > 0  # what an untrained detector finds may be nothing
    layers = ['--out', str(tmp_path / 'layers'), *command[2:], '--fill', 'layers']
    assert occlusion['main'](layers) == 2
    assert "fill='layers' is for classifiers" in capsys.readouterr().err
    two = [*command, '--model', 'y', str(tmp_path / 'tiny.py'), str(tmp_path / 'network.pth')]
    (tmp_path / 'tiny.py').write_text("default_scope = 'mmpretrain'\n")
    assert occlusion['main'](two) == 2
    what = 'detector' if library == 'mmdet' else 'segmentor'
    assert f'must be the config of a {what}, but is of mmpretrain' in capsys.readouterr().err


def test_what_does_not_fit_is_an_error_without_traceback(occlusion, trained, tiny_config, tmp_path, capsys):
    tiny, checkpoint = str(trained / 'tiny.py'), str(trained / 'epoch_2.pth')
    deeper = tiny_config('deeper', model=dict(backbone=dict(backbone=dict(depth=34))))
    plain = dict(_delete_=True, type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4)
    plain = tiny_config('plain', model=dict(backbone=plain))
    for config, file, more, message in (
        (tiny, 'nope.pth', [], 'must be an existing file, but got nope.pth'),
        (deeper, checkpoint, [], f'checkpoint {checkpoint} must hold the tensors of this ImageClassifier'),
        (plain, checkpoint, [], 'tensors have no place there (backbone.relu.reused.conv1.weight, '),
        (tiny, checkpoint, ['--ratios', '1.5'], '--ratios must be in (0, 1), but got 1.5'),
        (tiny, checkpoint, ['--patterns', 'stripes'], "must be one of ['patch', 'grid'"),
        (tiny, checkpoint, ['--metric', 'mIoU'], "must be one that the test_evaluator gives, ['accuracy/top1']"),
        (tiny, checkpoint, ['--num-images', '0'], 'must be at least 1, but got 0'),
    ):
        assert occlusion['main'](['--out', str(tmp_path / 'out'), '--model', 'x', config, file, *more]) == 2
        error = capsys.readouterr().err
        assert 'error: ' in error and message in error
    assert not (tmp_path / 'out').exists()  # nothing is written before all is measured
