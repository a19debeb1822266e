# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped classification configs: names, twins, and a training and a test step of each through its own pipeline."""

import math
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from differences import differences
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.dataset.utils import default_collate
from mmengine.registry import MODELS, init_default_scope

from mmmaskany.models.masking import build_pattern

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / 'configs/maskany_r50_in1k.py'
CONFIGS = [ENTRY, *sorted((ROOT / 'configs/maskany').glob('*.py'))]
NAME = re.compile(
    r'(?P<method>maskany_)?(?P<network>(?P<mask>mask)?resnet(?P<depth>\d+)(-narrow)?)'
    r'(?P<arm>-unmasked|-noreuse|-pipeline)?(_(?P<pretrain>\w+)-pre)?'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-coslr-(?P<epochs>\d+)e'
    r'_(?P<data>in1k|cifar10|cifar10-folders|cifar100|tiny-imagenet|cub-448px|digits)'
)
CLASSES = {'in1k': 1000, 'cifar100': 100, 'tiny-imagenet': 200, 'cub-448px': 200}
CROPS = {'in1k': 224, 'tiny-imagenet': 64, 'cub-448px': 448}
METHODS = [path for path in CONFIGS if path.stem.startswith('maskany_') and not re.search('-(unm|nor|pip)', path.stem)]
ids = dict(ids=lambda path: path.stem)


def parts(path: Path) -> dict:
    """Split the name of a config; that of the entry config is promised, and stands for a longer one."""
    name = 'maskany_maskresnet50_8xb128-coslr-100e_in1k' if path == ENTRY else path.stem
    match = NAME.fullmatch(name)
    assert match, f'{name} does not follow the naming rule'
    return match.groupdict()


def twin(path: Path, arm: str) -> Config:
    """Load the twin of a method config."""
    name = parts(path)
    rest = '_'.join(path.stem.split('_')[2:]) if path != ENTRY else '8xb128-coslr-100e_in1k'
    network = f'resnet{name["depth"]}{"-narrow" if "narrow" in name["network"] else ""}'
    stem = f'{network}_{rest}' if arm == 'plain' else f'maskany_{name["network"]}-{arm}_{rest}'
    return Config.fromfile(ROOT / 'configs/maskany' / f'{stem}.py')


def test_base_names_are_unique():
    names = Counter(path.stem for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_name_tells_the_recipe(path):
    name, cfg = parts(path), Config.fromfile(path)
    gpus, batch, epochs = (int(name[key]) for key in ('gpus', 'batch', 'epochs'))
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=gpus * batch)
    assert cfg.train_cfg.max_epochs == epochs
    schedulers = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    assert schedulers[-1].type == 'CosineAnnealingLR'
    assert schedulers[-1].end == schedulers[-1].begin + schedulers[-1].T_max == epochs
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == CLASSES.get(name['data'], 10)
    assert bool(name['pretrain']) == ('init_cfg' in str(cfg.model.backbone))
    rate = {'in1k': 0.1 / 256, 'cub-448px': 0.01 / 64, 'digits': 0.1 / 32}.get(name['data'], 0.1 / 128)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate * gpus * batch)


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_runtime(path):
    cfg = Config.fromfile(path)
    assert cfg.default_scope == 'mmpretrain'
    assert cfg.custom_imports == dict(imports=['mmmaskany'], allow_failed_imports=False)
    assert cfg.default_hooks.checkpoint.type == 'mmmaskany.AtomicCheckpointHook'
    assert cfg.randomness.seed is not None
    assert cfg.tta_model.type == 'AverageClsScoreTTA'
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].collate_fn == dict(type='default_collate')


@pytest.mark.parametrize('path', METHODS, **ids)
def test_masks_cover_the_image_and_are_black(path):
    cfg, name = Config.fromfile(path), parts(path)
    masking, side = cfg.model.backbone.masking, CROPS.get(name['data'], 32)
    pattern = build_pattern(masking.pattern)
    assert pattern.scale == 0.5
    for part in pattern.patterns:
        # With no pixel left over, each sample is masked by exactly a quarter, whatever cell size it draws.
        assert part.draw(64, side, side, torch.Generator().manual_seed(0)).ratio.unique().tolist() == [0.25]
        assert all(side % cell == 0 for cell in part.cell)
    init_default_scope('mmpretrain')
    preprocessor = MODELS.build(dict(type='ClsDataPreprocessor', **cfg.data_preprocessor))
    black = preprocessor(dict(inputs=torch.zeros(1, 3, 1, 1, dtype=torch.uint8)))['inputs'].flatten()
    torch.testing.assert_close(torch.tensor(masking.fill.value), black)


def test_mixtures_are_those_of_the_reference():
    def mixture(stem):
        pattern = Config.fromfile(ROOT / f'configs/maskany/{stem}.py').model.backbone.masking.pattern
        return {
            p.type.removeprefix('mmmaskany.'): prob for p, prob in zip(pattern.patterns, pattern.probs, strict=True)
        }

    assert mixture('../maskany_r50_in1k') == dict(GridPattern=0.2)
    assert mixture('maskany_resnet18_1xb128-coslr-200e_cifar100') == dict(GridPattern=0.1, PatchPattern=0.3)
    assert mixture('maskany_resnet18_1xb128-coslr-100e_tiny-imagenet') == dict(
        GridPattern=0.1, PatchPattern=0.2, RandomPattern=0.1
    )


@pytest.mark.parametrize('path', METHODS, **ids)
def test_twins_change_one_thing(path):
    cfg = Config.fromfile(path).to_dict()
    unmasked, noreuse, plain = (twin(path, arm).to_dict() for arm in ('unmasked', 'noreuse', 'plain'))
    assert differences(cfg, unmasked) == {'model.backbone.masking'}
    assert unmasked['model']['backbone']['masking'] is None
    assert differences(cfg, noreuse) == {'model.backbone.masking.reuse'}
    assert noreuse['model']['backbone']['masking']['reuse'] is False
    host = cfg['model']['backbone'].get('backbone') or dict(type='mmpretrain.ResNet', depth=int(parts(path)['depth']))
    assert plain['model']['backbone'] == host
    assert {key for key in differences(cfg, plain) if not key.startswith('model.backbone.')} == set()


@pytest.mark.parametrize('path', [path for path in CONFIGS if '-pipeline' in path.stem], **ids)
def test_pipeline_twins_move_the_masks(path):
    stem = path.stem.replace('-pipeline', '')
    method = ENTRY if stem == 'maskany_maskresnet50_8xb128-coslr-100e_in1k' else path.with_name(f'{stem}.py')
    cfg, moved = Config.fromfile(method).to_dict(), Config.fromfile(path).to_dict()
    assert differences(cfg, moved) == {
        'data_preprocessor.type',
        'model.backbone.masking',
        'train_dataloader.dataset.pipeline',
        'train_pipeline',
    }
    assert moved['model']['backbone']['masking'] is None
    steps = moved['train_dataloader']['dataset']['pipeline']
    assert steps == moved['train_pipeline']
    kept = [step for step in steps if not step['type'].startswith('mmmaskany.')]
    assert kept == cfg['train_pipeline'][:-1]
    ours = [step for step in steps if step['type'].startswith('mmmaskany.')]
    assert [step['type'].removeprefix('mmmaskany.') for step in ours] == [
        'MaskRegions',
        'AugmentReused',
        'PackMaskAnyInputs',
    ]
    assert ours[0]['pattern'] == cfg['model']['backbone']['masking']['pattern']
    # AutoAugment has to know the order of the channels: images are BGR where the preprocessor turns them.
    assert ours[1].get('bgr', True) == cfg['data_preprocessor']['to_rgb']
    # Masks come before anything that changes the size.
    assert steps.index(ours[0]) == int(steps[0]['type'] == 'LoadImageFromFile')


def shrunk(pipeline: list, side: int) -> list:
    """Make a pipeline yield images of at most ``side`` pixels."""
    steps = []
    for step in pipeline:
        step = dict(step)
        if step['type'] in ('Resize', 'ResizeEdge'):
            step['scale'] = side + 8
        elif step['type'] == 'RandomResizedCrop':
            step['scale'] = side
        elif 'crop_size' in step:
            step['crop_size'] = min(side, step['crop_size'])
        steps.append(step)
    return steps


@pytest.fixture(scope='module')
def sample(tmp_path_factory):
    """Make what datasets hand to a pipeline."""
    folder = tmp_path_factory.mktemp('images')
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    for side in (32, 64, 96):
        cv2.imwrite(str(folder / f'{side}.png'), image[:side, :side])

    def make(pipeline: list, side: int, label: int) -> dict:
        if pipeline[0]['type'] == 'LoadImageFromFile':
            return dict(img_path=str(folder / f'{side}.png'), gt_label=label)
        return dict(img=image[:side, :side], gt_label=label)

    return make


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_trains_and_predicts(path, sample):
    cfg, classes = Config.fromfile(path), CLASSES.get(parts(path)['data'], 10)
    side = CROPS.get(parts(path)['data'], 32)
    stored, side = (96, 64) if side > 64 else (side, side)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))

    def batch(name):
        steps = shrunk(cfg[f'{name}_dataloader'].dataset.pipeline, side)
        run = Compose(steps)
        return default_collate([run(sample(steps, stored, label)) for label in (0, classes - 1)])

    model.train()
    data = model.data_preprocessor(batch('train'), training=True)
    if '-pipeline' in path.stem:
        assert [tuple(view.shape) for view in data['inputs']] == [(2, 3, side, side), (2, 3, side // 2, side // 2)]
    else:
        assert tuple(data['inputs'].shape) == (2, 3, side, side)
    losses = model(**data, mode='loss')
    assert losses.keys() == {'loss'} and math.isfinite(losses['loss'].item())

    model.eval()
    with torch.no_grad():
        predictions = model.test_step(batch('val'))
    scores = torch.stack([prediction.pred_score for prediction in predictions])
    assert scores.shape == (2, classes)
    torch.testing.assert_close(scores.sum(1), torch.ones(2))
