# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmmaskany.models.algebra import build_pattern

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / 'configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'
GRID = ['model.backbone.masking.pattern.type=mmmaskany.GridPattern', 'model.backbone.masking.pattern.scale=0.5']
GRID.append('model.backbone.masking.pattern.cell=16')


@pytest.fixture(scope='module')
def browse():
    return runpy.run_path(str(ROOT / 'tools/visualization/browse_masks.py'))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('digits')
    runpy.run_path(str(ROOT / 'tools/dataset_converters/digits.py'))['main'](['--data-root', str(root / 'data')])
    return root


@pytest.fixture
def digits(root, monkeypatch):
    """Go where the digits are in ``data``."""
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def drawn(browse, digits, monkeypatch):
    """Return the rows of the sheets that a command line draws, instead of drawing them."""

    def rows(*argv):
        sheets, titles = {}, set()

        def save(content, path, **options):
            sheets[path.name] = content[0]
            titles.add(content[1])
            return [path.with_suffix('.png')]

        main = browse['main']
        monkeypatch.setitem(main.__globals__, 'sheet', lambda *content: content)
        monkeypatch.setitem(main.__globals__, 'save_figure', save)
        assert main([*map(str, argv)]) == 0
        (title,) = titles
        return sheets, title

    return rows


def test_rows_are_the_patterns_and_their_mixture(browse):
    pattern = build_pattern(Config.fromfile(DIGITS).model.backbone.masking.pattern)
    rows = browse['rows_of'](pattern, 32)
    noises = [f'{color} noise' for color in ('red', 'blue', 'green', 'purple')]
    assert [label for label, _ in rows] == [
        'patch\nscale 0.5\np = 0.2',
        'grid\nscale 0.5, 4, 8, 16 px\np = 0.1',
        'random\nscale 0.5, 8, 4, 2 px\np = 0.1',
        *(f'{name}\nscale 0.5, 4 px\nnot in this config' for name in ('block', *noises)),
        'mixture\npatch 50%\ngrid 25%\nrandom 25%',
        'unmasked\np = 0.6',
    ]
    assert sum(rows[8][1].probs) == pytest.approx(1) and rows[9][1] is None
    assert pattern.probs == [0.1, 0.2, 0.1]  # the config's is not changed


def test_panels_show_what_the_model_would_see(drawn):
    sheets, title = drawn(DIGITS, '--num-images', '2')
    assert list(sheets) == ['training', 'grid', 'patch', 'random', 'patterns']
    assert 'reused: the masked cells, stitched together at half the side' in title
    assert len(sheets['patterns']) == 10
    for index, (_, line) in enumerate(sheets['patterns']):
        assert len(line) == 2
        for image, mask, visible, reused, _ in line:
            masked = mask[..., 2] < 0.5
            assert masked.mean() == (0.25 if index < 9 else 0)
            np.testing.assert_allclose(visible[masked], 0, atol=1e-5)
            np.testing.assert_allclose(visible[~masked], image[~masked], atol=1e-5)
            assert image.shape == (32, 32, 3) and reused.shape == (16, 16, 3)
            if index < 9:  # the same pixels in another order
                np.testing.assert_allclose(np.sort(reused.flatten()), np.sort(image[masked].flatten()), atol=1e-5)
            else:
                np.testing.assert_allclose(reused[0, 0], image[:2, :2].mean((0, 1)), atol=1e-5)
    others, _ = drawn(DIGITS, '--num-images', '2', '--seed', '1')
    assert (others['patch'][0][1][0].mask != sheets['patch'][0][1][0].mask).any()
    # With the config's own probabilities, as much is masked as it says.
    many, _ = drawn(DIGITS, '--num-images', '200')
    captions = [sample.caption for _, line in many['training'] for sample in line]
    assert captions.count('unmasked') / 200 == pytest.approx(0.6, abs=0.1)
    assert captions.count('patch') / 200 == pytest.approx(0.2, abs=0.1)
    for _, line in many['training']:
        for sample in line:
            assert (sample.caption == 'unmasked') == (sample.mask == 1).all()


def test_masks_of_the_data_pipeline(drawn, digits):
    config = digits / 'pipeline.py'
    base = str(DIGITS).replace('narrow_', 'narrow-pipeline_')
    config.write_text(
        f'_base_ = {base!r}\n'
        'pipeline = [step for step in _base_.train_pipeline if step["type"] != "RandomCrop"]\n'
        'train_dataloader = dict(dataset=dict(pipeline=pipeline))\n'
    )
    sheets, title = drawn(config, '--num-images', '2')
    assert 'image: what the pipeline masks' in title
    for name in ('grid', 'patch', 'random'):
        for _, line in sheets[name]:
            for image, mask, visible, reused, _ in line:
                masked = mask[..., 2] < 0.5
                assert masked.mean() == 0.25
                np.testing.assert_allclose(visible, np.where(masked[..., None], 0, image), atol=1e-5)
                np.testing.assert_allclose(np.sort(reused.flatten()), np.sort(image[masked].flatten()), atol=1e-5)
    many, _ = drawn(config, '--num-images', '100')
    samples = [sample for _, line in many['training'] for sample in line]
    assert {'unmasked', 'patch'} < {sample.caption for sample in samples}
    for sample in samples:
        assert (sample.caption == 'unmasked') == (sample.mask == 1).all()

    # What follows in the pipeline is the same whatever was masked, so that rows can be compared.
    cropped, _ = drawn(base, '--num-images', '1')
    shown = [line[0].visible for _, line in cropped['patterns'][:9]]
    for first, second in zip(shown, shown[1:], strict=False):
        both = (first > 0) & (second > 0)
        np.testing.assert_array_equal(first[both], second[both])


@pytest.mark.parametrize(
    ('config', 'sizes'),
    [
        ('detection/mask-rcnn_maskany-r18-narrow_fpn_8e_digits', 32),
        ('segmentation/maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96', 1),
    ],
)
def test_detection_and_segmentation(drawn, config, sizes):
    sheets, _ = drawn(ROOT / f'configs/{config}.py', '--num-images', '2', '--cfg-options', *GRID)
    assert list(sheets) == ['training', 'patterns'] and len(sheets['patterns']) == 9
    ((_, line),) = sheets['training']
    for image, mask, visible, reused, _ in line:
        height, width = image.shape[:2]
        assert height % sizes == width % sizes == 0  # padded as the detector does
        assert reused.shape[:2] == ((height + 1) // 2, (width + 1) // 2)
        masked = mask[..., 2] < 0.5
        assert 0.15 < masked.mean() < 0.3
        np.testing.assert_array_equal(visible[~masked], image[~masked])
        np.testing.assert_allclose(visible[masked], 79.6 / 255, atol=1e-4)  # 0 is the mean colour


@pytest.mark.parametrize(
    ('config', 'place'),
    [
        ('masking/simmim-noise_swin-narrow_1xb32-coslr-8e_digits', None),
        ('masking/mae-noise_vit-narrow_1xb32-coslr-8e_digits', None),
        ('masking/maskmix_resnet18-narrow_1xb32-coslr-8e_digits', None),
        ('masksub/masksub_maskany-resnet18-narrow_1xb32-coslr-8e_digits', 'sub_masking'),
    ],
)
def test_masks_without_a_second_stem(drawn, config, place):
    chosen = ['--masking', place] if place else []
    sheets, title = drawn(ROOT / f'configs/{config}.py', '--num-images', '2', *chosen)
    assert 'reused' not in title
    samples = [sample for _, line in sheets['patterns'][:-1] for sample in line]
    assert all(sample.reused is None and (sample.mask != 1).any() for sample in samples)
    if 'maskmix' in config:  # filled from the other image
        (_, (first, second)), *_ = sheets['patterns']
        masked = first.mask[..., 2] < 0.5
        np.testing.assert_allclose(first.visible[masked], second.image[masked], atol=1e-5)


def test_the_same_seed_gives_the_same_files(browse, digits):
    def files(folder):
        assert browse['main']([str(DIGITS), '--out', folder, '--num-images', '1']) == 0
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    first = files('pictures/a')
    assert sorted(first) == ['grid.png', 'patch.png', 'patterns.png', 'random.png', 'training.png']
    np.random.rand(3), torch.rand(3)  # whatever state the random numbers are in
    assert files('pictures/b') == first
    height, width = cv2.imread('pictures/a/patterns.png').shape[:2]
    assert height > 600 and width > 500


def test_what_cannot_be_shown_is_said(browse, digits, capsys, monkeypatch):
    def error(config, *options):
        assert browse['main']([str(config), *options]) == 2
        return capsys.readouterr().err

    assert 'give the config of which it is the twin' in error(str(DIGITS).replace('narrow_', 'narrow-unmasked_'))
    assert "must be one of ['backbone.masking'] in this config, but got neck" in error(DIGITS, '--masking', 'neck')
    assert '--num-images must be at least 1, but got 0' in error(DIGITS, '--num-images', '0')
    bad = 'model.backbone.masking.pattern.probs=[0.9,0.9,0.9]'
    assert 'must be >= 0 and sum to at most 1' in error(DIGITS, '--cfg-options', bad)
    monkeypatch.chdir('/')
    assert 'tools/dataset_converters/digits.py' in error(DIGITS, '--out', str(digits / 'none'))


def test_idea_picture(tmp_path):
    draw = runpy.run_path(str(ROOT / 'docs/figures/idea_picture.py'))
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
    assert script['main']([str(DIGITS)]) == 2
    assert 'must be a config of MixMask, with `model.mixing`, but has none' in capsys.readouterr().err
    assert script['main']([str(MIXMASK)]) == 2
    assert 'digits.py` makes data/digits' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        script['main']([str(MIXMASK), '--num-images', '1'])
