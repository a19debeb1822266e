# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import save_checkpoint

ROOT = Path(__file__).parents[2]
MASKANY = 'maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits'
PLAIN = 'maskany/resnet18-narrow_1xb32-coslr-8e_digits'
DETECTOR = 'detection/mask-rcnn_maskany-r18-narrow_fpn_8e_digits'
SEGMENTOR = 'segmentation/maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96'


@pytest.fixture(scope='module')
def cam():
    return runpy.run_path(str(ROOT / 'tools/visualization/vis_cam.py'))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('digits')
    runpy.run_path(str(ROOT / 'tools/dataset_converters/digits.py'))['main'](['--data-root', str(root / 'data')])
    return root


@pytest.fixture
def model(root, monkeypatch):
    """Write an untrained checkpoint of a shipped config and return both, for the command line."""
    monkeypatch.chdir(root)

    def make(name):
        config, checkpoint = ROOT / f'configs/{name}.py', root / f'{Path(name).name}.pth'
        cfg = Config.fromfile(config)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model)
        classes = cfg.get('metainfo', dict(classes=tuple('0123456789')))
        save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes))), str(checkpoint))
        return [str(config), str(checkpoint)]

    return make


@pytest.fixture
def figures(cam, monkeypatch):
    """Run the tool and return its figures instead of writing them."""

    def run(*argv):
        drawn = {}
        main = cam['main']
        monkeypatch.setitem(
            main.__globals__, 'save_figure', lambda figure, path: drawn.setdefault(path.name, figure) and ()
        )
        assert main([*map(str, argv), '--out', 'unused']) == 0
        return drawn

    return run


def titles(figure):
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def labels(figure):
    return [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]


def test_two_classifiers_side_by_side(figures, model):
    argv = [*model(PLAIN), '--other', *model(MASKANY), '--names', 'plain', 'MaskAny', '--num-images', '2']
    drawn = figures(*argv)
    assert list(drawn) == ['cam', 'stems-MaskAny']
    assert labels(drawn['cam']) == ['image', 'plain', 'MaskAny', 'gradcam, of each picture by itself']
    first, second, *said = titles(drawn['cam'])
    assert (first, second) == ('3', '6')  # the classes of test images at a third and two thirds
    assert all(text.startswith(f'{truth} (0.') for truth, text in zip((first, second) * 2, said, strict=True))
    assert labels(drawn['stems-MaskAny'])[:4] == ['image', 'visible stem', 'reused stem', 'fusion']
    # The maps are those of the models: the two differ.
    maps = [axis.images[-1].get_array() for axis in drawn['cam'].axes[2:6]]
    assert all(part.shape == (32, 32) for part in maps) and np.abs(maps[0] - maps[2]).max() > 0.05

    other = figures(*argv, '--target', '7', '--layer', 'backbone.layer3', '--method', 'layercam')
    assert all(text.startswith('7 (0.') for text in titles(other['cam'])[2:])
    assert labels(other['cam'])[-1] == 'layercam, of each picture by itself'
    assert np.abs(other['cam'].axes[2].images[-1].get_array() - maps[0]).max() > 0.05


@pytest.mark.parametrize(('config', 'unit'), [(DETECTOR, 'found, best'), (SEGMENTOR, '(0.')])
def test_detectors_and_segmentors(figures, model, config, unit):
    drawn = figures(*model(config), '--names', 'MaskAny', '--num-images', '2')
    assert list(drawn) == ['cam', 'stems-MaskAny']
    axes = drawn['cam'].axes
    assert titles(drawn['cam'])[0].endswith('.jpg') and unit in titles(drawn['cam'])[2]
    above, _, below = axes[:3]
    image, heat = above.images[0].get_array(), below.images[-1].get_array()
    assert image.shape[:2] == heat.shape and heat.max() <= 1  # without the detector's padding
    if config == DETECTOR:
        assert len(above.patches) >= 3 and len(below.patches) >= 1  # boxes, annotated and found
    else:
        assert below.collections  # the outline of the region


def test_images_of_ones_own_are_written_as_png_and_svg(cam, model, capsys):
    images = sorted(map(str, Path('data/digits/val').rglob('*.png')))[:2]
    assert cam['main']([*model(MASKANY), '--images', *images, '--out', 'pictures']) == 0
    name = MASKANY.rpartition('/')[2].replace('_', '')
    files = [f'{sheet}.{kind}' for sheet in ('cam', f'stems-{name}') for kind in ('png', 'svg')]
    assert sorted(path.name for path in Path('pictures').iterdir()) == files
    assert cv2.imread('pictures/cam.png').shape[1] > 600
    assert Path(images[0]).name in Path('pictures/cam.svg').read_text()
    assert 'classification, gradcam of backbone.layer4' in capsys.readouterr().out


def test_feature_maps_of_both_stems_are_dumped(cam, model, tmp_path):
    config, checkpoint = model(MASKANY)
    images = sorted(map(str, Path('data/digits/val').rglob('*.png')))[:2]
    argv = [config, checkpoint, '--images', *images, '--names', 'MaskAny', '--features', '--out', str(tmp_path)]
    assert cam['main'](argv) == 0
    features = np.load(tmp_path / 'features-MaskAny.npz')
    names = [f'{Path(image).name}/{part}' for image in images for part in ('visible stem', 'reused stem', 'fusion')]
    assert features.files == names
    # By hand: the visible stem of the built network on the image as the config normalises it.
    cfg = Config.fromfile(config)
    cfg.model.data_preprocessor = cfg.get('data_preprocessor', cfg.model.get('data_preprocessor'))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        network = MODELS.build(cfg.model)
    network.load_state_dict(torch.load(checkpoint)['state_dict'])
    network.eval()
    mean, std = network.data_preprocessor.mean, network.data_preprocessor.std
    pixels = torch.from_numpy(cv2.imread(images[0])[..., ::-1].copy()).permute(2, 0, 1).float()
    image = ((pixels - mean) / std)[None]
    host, stem = network.backbone, network.backbone.dual_stem
    with torch.no_grad():
        for part in host.stem_parts[:-1]:
            image = host.get_submodule(part)(image)
        expected = stem.visible(image)[0].numpy()
    np.testing.assert_allclose(features[names[0]], expected, rtol=1e-4, atol=1e-5)
    assert features[names[2]].shape == expected.shape == (16, 32, 32)
    assert features[names[1]].shape == (16, 16, 16)  # of ResNet_CIFAR, whose stem has stride 1: upsampled to be fused
    assert not np.allclose(features[names[0]], features[names[3]])


def test_what_cannot_be_drawn_is_said(cam, model, capsys, monkeypatch, tmp_path):
    plain, maskany = model(PLAIN), model(MASKANY)
    other = tmp_path / 'other.py'
    other.write_text(f"_base_ = {plain[0]!r}\ntest_dataloader = dict(dataset=dict(data_prefix='train'))\n")
    out = tmp_path / 'out'

    def error(*argv):
        assert cam['main']([*map(str, argv), '--out', str(out), '--num-images', '1']) == 2
        assert not out.exists() or not list(out.iterdir())
        return capsys.readouterr().err

    assert '--names must be 2 different ones' in error(*plain, '--other', *maskany, '--names', 'one')
    assert "--target must be 'gt', 'pred', an index or one of ['0', " in error(*plain, '--target', 'cat')
    assert 'the class must be in 0..9, but got 33' in error(*plain, '--target', '33')
    assert 'must be tested on the same images' in error(*plain, '--other', other, plain[1])
    assert '--images must name files, but there is no cat.png' in error(*plain, '--images', 'cat.png')
    save_checkpoint(dict(state_dict=dict(weight=torch.ones(1))), 'strange.pth')
    assert 'must hold the tensors of this ImageClassifier' in error(plain[0], 'strange.pth')
    assert 'layer must name a module of the model' in error(*plain, '--layer', 'layer9')
    assert 'must be an existing file, but got none.pth' in error(plain[0], 'none.pth')
    assert "--features needs a model with a second stem, but none of ['" in error(*plain, '--features')
    monkeypatch.setitem(sys.modules, 'pytorch_grad_cam', None)
    assert "which the extra 'vis' brings: pip install 'mmmaskany[vis]'" in error(*plain)


def test_a_container_can_be_named(cam, model, tmp_path):
    config, checkpoint = model(MASKANY)
    state = torch.load(checkpoint)['state_dict']
    zeros = {k: v if k.endswith('_extra_state') else torch.zeros_like(v) for k, v in state.items()}
    torch.save(dict(model=state, model_ema=zeros), tmp_path / 'a.pth')
    load, stem = cam['load'], 'backbone.conv1.weight'
    assert not load(config, str(tmp_path / 'a.pth'))[1].state_dict()[stem].any()
    assert torch.equal(load(config, str(tmp_path / 'a.pth'), 'model')[1].state_dict()[stem], state[stem])
