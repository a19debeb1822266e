# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / 'configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'


@pytest.fixture(scope='module')
def gallery():
    return runpy.run_path(str(ROOT / 'tools/visualization/mask_gallery.py'))


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Go where the digits are in ``data/digits``."""
    runpy.run_path(str(ROOT / 'tools/dataset_converters/digits.py'))['main'](['--data-root', str(tmp_path / 'data')])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_masking_is_found_in_model_and_pipeline(gallery):
    own = gallery['config_masking'](Config.fromfile(DIGITS))
    moved = gallery['config_masking'](Config.fromfile(str(DIGITS).replace('narrow_', 'narrow-pipeline_')))
    assert own['pattern'] == moved['pattern'] and own['reuse'] is moved['reuse'] is True
    assert own['fill']['value'] == pytest.approx(moved['fill']['value'])
    lost = gallery['config_masking'](Config.fromfile(str(DIGITS).replace('narrow_', 'narrow-noreuse_')))
    assert lost['reuse'] is False
    with pytest.raises(ValueError, match='must mask something'):
        gallery['config_masking'](Config.fromfile(str(DIGITS).replace('narrow_', 'narrow-unmasked_')))


def test_rows_are_the_patterns_and_their_mixture(gallery):
    masking = gallery['config_masking'](Config.fromfile(DIGITS))
    rows = gallery['rows_of'](masking, 32)
    noises = [f'{color} noise' for color in ('red', 'blue', 'green', 'purple')]
    assert [label for label, _ in rows] == [
        'patch\nscale 0.5\np = 0.2',
        'grid\nscale 0.5, 4, 8, 16 px\np = 0.1',
        'random\nscale 0.5, 8, 4, 2 px\np = 0.1',
        *(f'{name}\nscale 0.5, 4 px\nnot in this config' for name in ('block', *noises)),
        'mixture\npatch 50%\ngrid 25%\nrandom 25%',
        'unmasked\np = 0.6\nand at test time',
    ]
    assert sum(rows[8][1]['probs']) == pytest.approx(1)
    assert masking['pattern']['probs'] == [0.1, 0.2, 0.1]  # the config is not changed


def test_panels_show_what_the_model_would_see(gallery, digits):
    cfg = Config.fromfile(DIGITS)
    gallery['init_default_scope'](cfg.default_scope)
    images, preprocessor = gallery['load_images'](cfg, 'val', 2)
    torch.manual_seed(0)
    figure = gallery['sheet'](images, gallery['config_masking'](cfg), preprocessor)
    panels = [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]
    assert len(panels) == 10 * 2 * 4
    for row in range(10):
        for index in range(2):
            image, mask, visible, reused = panels[8 * row + 4 * index :][:4]
            masked = mask[..., 2] < 0.5
            assert masked.mean() == (0.25 if row < 9 else 0)
            np.testing.assert_allclose(visible[masked], 0, atol=1e-5)
            np.testing.assert_allclose(visible[~masked], image[~masked], atol=1e-5)
            assert reused.shape == (16, 16, 3)
            if row < 9:  # the same pixels in another order
                np.testing.assert_allclose(np.sort(reused.flatten()), np.sort(image[masked].flatten()), atol=1e-5)
            else:
                np.testing.assert_allclose(reused[0, 0], image[:2, :2].mean((0, 1)), atol=1e-5)
    gallery['plt'].close(figure)


def test_gallery_is_written(gallery, digits, capsys):
    assert gallery['main']([str(DIGITS), '--out', 'pictures/sheet.png', '--num-images', '1']) == 0
    height, width = cv2.imread('pictures/sheet.png').shape[:2]
    assert height > 600 and width > 500
    assert gallery['main']([str(DIGITS).replace('narrow_', 'narrow-unmasked_')]) == 1
    assert 'give the config of which it is the twin' in capsys.readouterr().err


def test_idea_picture(tmp_path):
    draw = runpy.run_path(str(ROOT / 'tools/visualization/idea_picture.py'))
    image, visible, reused = draw['views']()
    assert reused.shape == (196, 196, 3)
    black = (visible == 0).all(-1) & (image != 0).any(-1)
    torch.testing.assert_close(image[black].sum(), reused.sum(), rtol=1e-3, atol=0)
    assert draw['main'](['--out', str(tmp_path / 'idea.png')]) == 0
    shipped = ROOT / 'resources/idea.png'
    assert cv2.imread(str(tmp_path / 'idea.png')).shape == cv2.imread(str(shipped)).shape
    assert shipped.stat().st_size < 500_000


MIXMASK = ROOT / 'configs/mixmask/mixmask-mocov2_resnet18-narrow_1xb64-coslr-15e_digits.py'


def test_sheet_of_mixed_views(digits, capsys):
    script = runpy.run_path(str(ROOT / 'tools/visualization/mixmask_sheet.py'))
    assert script['main']([str(MIXMASK), '--out', 'sheet', '--num-images', '3']) == 0
    first = Path('sheet/mixmask_sheet.png').read_bytes()
    assert Path('sheet/mixmask_sheet.svg').is_file() and 'wrote sheet/mixmask_sheet.png' in capsys.readouterr().out
    script['main']([str(MIXMASK), '--out', 'sheet', '--num-images', '3'])
    assert Path('sheet/mixmask_sheet.png').read_bytes() == first  # the same seed, the same picture

    from mmmaskany.models.batch_augments import UnMix

    cfg = Config.fromfile(MIXMASK)
    views, preprocessor = script['load_views'](cfg, 3)
    assert views.shape == (3, 3, 32, 32) and views.min() < 0
    figure = script['sheet'](views, [UnMix(cut_prob=0.0), UnMix(cut_prob=1.0)], preprocessor)
    panels = [axis.images[0].get_array() for axis in figure.axes]
    assert len(panels) == 2 * 3 * 4
    for row in range(6):
        view, partner, mask, mixed = panels[4 * row : 4 * row + 4]
        np.testing.assert_allclose(mixed, view + mask * (partner - view), atol=1e-3)
        np.testing.assert_allclose(partner, panels[4 * (row // 3 * 3 + (row - 1) % 3)])
        label = figure.axes[4 * row].get_ylabel()
        assert label.startswith('UnMix') and float(label.split('= ')[1]) == pytest.approx(1 - mask.mean(), abs=1e-3)
        assert (np.unique(mask).size == 1) == (row < 3)


def test_sheet_of_mixed_views_names_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(ROOT / 'tools/visualization/mixmask_sheet.py'))
    assert script['main']([str(DIGITS)]) == 1
    assert 'must be a config of MixMask, with `model.mixing`, but has none' in capsys.readouterr().err
    assert script['main']([str(MIXMASK)]) == 1
    assert 'digits.py` makes data/digits' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        script['main']([str(MIXMASK), '--num-images', '1'])
