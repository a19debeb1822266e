# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped configs of patterns, fills, schedules and mixing: what each changes, and a training step of each."""

import copy
import functools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from differences import differences
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.dataset.utils import default_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, init_default_scope

from mmmaskany.engine.config_check import check_config
from mmmaskany.models.masking import build_pattern

FOLDER = Path(__file__).parents[2] / 'configs/masking'
CONFIGS = sorted(FOLDER.glob('*.py'))
RECIPE = '1xb32-coslr-8e_digits'
TWINS = FOLDER.with_name('maskany')
NAME = re.compile(rf'(?P<method>[a-z-]+)_(?P<network>(maskany-)?resnet18-narrow|swin-narrow|vit-narrow)_{RECIPE}')
PATTERNS = [path for path in CONFIGS if '_maskany-' in path.stem and 'easy' not in path.stem]
ids = dict(ids=lambda path: path.stem.removesuffix(f'_{RECIPE}'))


read = functools.cache(Config.fromfile)


def load(stem: str) -> Config:
    """Load a config of this folder, or of MaskAny's."""
    (path,) = (path for folder in (FOLDER, TWINS) for path in folder.glob(f'{stem}_{RECIPE}.py'))
    return read(path)


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_name_and_recipe(path):
    assert NAME.fullmatch(path.stem), f'{path.stem} does not follow the naming rule'
    cfg = read(path)
    check_config(cfg)
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 32
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end == 8
    assert cfg.custom_imports == dict(imports=['mmmaskany'], allow_failed_imports=False)
    assert cfg.default_hooks.checkpoint.type == 'mmmaskany.AtomicCheckpointHook'


@pytest.mark.parametrize('path', PATTERNS, **ids)
def test_only_the_pattern_and_its_fill_differ(path):
    masks = 'model.backbone.masking'
    cfg, twin = read(path), load('maskany_resnet18-narrow')
    changed = differences(cfg.to_dict(), twin.to_dict())
    assert changed >= {f'{masks}.pattern.patterns', f'{masks}.pattern.probs', f'{masks}.reuse'}
    assert all(key.startswith(f'{masks}.') for key in changed)
    # As the masks of MaskAny, four images of ten by a quarter.
    draw = build_pattern(cfg.model.backbone.masking.pattern).draw(2000, 32, 32, torch.Generator().manual_seed(0))
    assert draw.ratio[draw.masked].unique().tolist() == [0.25]
    assert abs(draw.masked.float().mean() - sum(twin.model.backbone.masking.pattern.probs)) < 0.05


def test_patterns_and_fills_are_those_of_the_names():
    def masks(stem):
        masking = load(f'{stem}_maskany-resnet18-narrow').model.backbone.masking
        (pattern,) = masking.pattern.patterns
        assert masking.reuse is False
        return pattern.type.removeprefix('mmmaskany.'), masking.fill.type.removeprefix('mmmaskany.')

    assert masks('cutout') == ('PatchPattern', 'ConstantFill')
    assert masks('gridmask') == ('GridPattern', 'ConstantFill')
    assert masks('random-token') == ('RandomPattern', 'TokenFill')
    assert masks('block-mean') == ('BlockPattern', 'MeanFill')
    for color in ('red', 'blue', 'green', 'purple'):
        assert masks(f'noise-{color}') == ('NoisePattern', 'ConstantFill')
        cfg = load(f'noise-{color}_maskany-resnet18-narrow')
        assert cfg.model.backbone.masking.pattern.patterns[0].color == color


def test_easy_to_hard_changes_the_scale_alone():
    cfg, twin = load('easy-to-hard_maskany-resnet18-narrow'), load('maskany_resnet18-narrow')
    assert differences(cfg.to_dict(), twin.to_dict()) == {'custom_hooks', 'model.backbone.masking.pattern.patterns'}
    (hook,) = (HOOKS.build(hook) for hook in cfg.custom_hooks)
    pattern = build_pattern(cfg.model.backbone.masking.pattern)
    assert pattern.share == hook.value(0, 8) == 0.25 and hook.value(7, 8) == 0.75
    pattern.share = 0.75
    draw = pattern.draw(200, 32, 32)
    assert draw.ratio[draw.masked].unique().tolist() == [0.5625]


def test_mixing_changes_the_batch_alone():
    mix, cut, plain = (load(f'{name}resnet18-narrow') for name in ('maskmix_', 'cutmix_', ''))
    for cfg in (mix, cut):
        assert differences(cfg.to_dict(), plain.to_dict()) == {'model.train_cfg'}
    # As much is mixed as MaskAny masks, by the same patterns; CutMix takes whole batches.
    masking = load('maskany_resnet18-narrow').model.backbone.masking
    assert mix.model.train_cfg.augments.pattern == masking.pattern
    assert cut.model.train_cfg.probs == pytest.approx(sum(masking.pattern.probs))


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_trains_a_step(path):
    cfg = read(path)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    np.random.seed(0)
    model = MODELS.build(copy.deepcopy(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)))
    model.init_weights()
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)

    def batch(loader):
        run = Compose(loader.dataset.pipeline[1:])  # the images are loaded
        return default_collate([run(dict(img=image, gt_label=label)) for label, image in enumerate(images)])

    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.train()
    log = model.train_step(batch(cfg.train_dataloader), build_optim_wrapper(model, cfg.optim_wrapper))
    assert math.isfinite(log['loss'].item())
    learned = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    # All but MAE's fixed positions, and what residual branches that start as 0 hide in the first step.
    assert all(re.search(r'pos_embed|\.bn1\.bias', name) for name in before.keys() - learned)
    if cfg.val_dataloader is not None:
        model.eval()
        with torch.no_grad():
            predictions = model.test_step(batch(cfg.val_dataloader))
        assert torch.stack([prediction.pred_score for prediction in predictions]).shape == (8, 10)
