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
from shipped import pipeline_of

from mmmaskany.engine.checks.config import check_config
from mmmaskany.models.algebra import build_pattern

FOLDER = Path(__file__).parents[2] / 'configs/masking'
CONFIGS = sorted(FOLDER.glob('*.py'))
RECIPES = DIGITS, _ = '1xb32-coslr-8e_digits', '1xb128-coslr-30e_cifar10-10k'
TWINS = FOLDER.with_name('maskany')
NAME = re.compile(
    r'(?P<method>[a-z-]+)_(?P<network>(maskany-)?resnet18-narrow|swin-narrow|vit-narrow)'
    r'_(?P<recipe>1xb(?P<batch>\d+)-coslr-(?P<epochs>\d+)e_(digits|cifar10-10k|cifar10-2k))'
)
SCHEDULES = 'easy-to-hard', 'early'
PATTERNS = [path for path in CONFIGS if '_maskany-' in path.stem and not path.stem.startswith(SCHEDULES)]
ids = dict(ids=lambda path: path.stem)
recipes = pytest.mark.parametrize('recipe', RECIPES)


read = functools.cache(Config.fromfile)


def load(stem: str, recipe: str = DIGITS) -> Config:
    """Load a config of this folder, or of MaskAny's."""
    (path,) = (path for folder in (FOLDER, TWINS) for path in folder.glob(f'{stem}_{recipe}.py'))
    return read(path)


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_name_and_recipe(path):
    name, cfg = NAME.fullmatch(path.stem), read(path)
    assert name, f'{path.stem} does not follow the naming rule'
    check_config(cfg)
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == int(name['batch'])
    last = cfg.param_scheduler[-1] if isinstance(cfg.param_scheduler, list) else cfg.param_scheduler
    assert cfg.train_cfg.max_epochs == last.end == int(name['epochs'])
    assert cfg.custom_imports == dict(imports=['mmmaskany'], allow_failed_imports=False)
    assert cfg.default_hooks.checkpoint.type == 'mmmaskany.AtomicCheckpointHook'


@pytest.mark.parametrize('path', PATTERNS, **ids)
def test_only_the_pattern_and_its_fill_differ(path):
    masks = 'model.backbone.masking'
    cfg, twin = read(path), load('maskany_resnet18-narrow', NAME.fullmatch(path.stem)['recipe'])
    changed = differences(cfg.to_dict(), twin.to_dict())
    assert changed >= {f'{masks}.pattern.patterns', f'{masks}.pattern.probs', f'{masks}.reuse'}
    assert all(key.startswith(f'{masks}.') for key in changed)
    # As the masks of MaskAny, four images of ten by a quarter; MAE's ratio is three.
    draw = build_pattern(cfg.model.backbone.masking.pattern).draw(2000, 32, 32, torch.Generator().manual_seed(0))
    assert draw.ratio[draw.masked].unique().tolist() == [0.75 if path.stem.startswith('mae-ratio') else 0.25]
    assert abs(draw.masked.float().mean() - sum(twin.model.backbone.masking.pattern.probs)) < 0.05


def test_patterns_and_fills_are_those_of_the_names():
    def masks(stem, recipe=DIGITS):
        masking = load(f'{stem}_maskany-resnet18-narrow', recipe).model.backbone.masking
        (pattern,) = masking.pattern.patterns
        assert masking.reuse is False
        return pattern.type.removeprefix('mmmaskany.'), masking.fill.type.removeprefix('mmmaskany.')

    for recipe in RECIPES:
        assert masks('cutout', recipe) == ('PatchPattern', 'ConstantFill')
        assert masks('gridmask', recipe) == ('GridPattern', 'ConstantFill')
    assert masks('mae-ratio') == ('RandomPattern', 'ConstantFill')
    assert masks('random-token') == ('RandomPattern', 'TokenFill')
    assert masks('block-mean') == ('BlockPattern', 'MeanFill')
    for color in ('red', 'blue', 'green', 'purple'):
        assert masks(f'noise-{color}') == ('NoisePattern', 'ConstantFill')
        cfg = load(f'noise-{color}_maskany-resnet18-narrow')
        assert cfg.model.backbone.masking.pattern.patterns[0].color == color


def masks(stem):
    """Draw masks of 32 x 32 px as a config does, bool ``(B, 32, 32)``, those of masked images only."""
    pattern = build_pattern(load(f'{stem}_maskany-resnet18-narrow').model.backbone.masking.pattern)
    draw = pattern.draw(400, 32, 32, torch.Generator().manual_seed(0))
    return draw.mask[draw.masked]


def neighbours(mask):
    """Return the mean number of masked neighbours, of 4, that a masked pixel has."""
    around = torch.nn.functional.pad(mask.float(), (1, 1, 1, 1))
    around = around[:, 2:, 1:-1] + around[:, :-2, 1:-1] + around[:, 1:-1, 2:] + around[:, 1:-1, :-2]
    return (around * mask).sum().item() / mask.sum().item()


def test_cutout_masks_one_square():
    for mask in masks('cutout'):
        rows, cols = (mask.any(dim).nonzero().flatten() for dim in (1, 0))
        assert rows.tolist() == list(range(rows[0], rows[0] + 16)) and cols.tolist() == list(
            range(cols[0], cols[0] + 16)
        )
        assert mask.sum() == 16 * 16


def test_gridmask_masks_cells_at_a_regular_distance():
    strides = set()
    for mask in masks('gridmask'):
        assert torch.equal(mask, mask.any(1)[:, None] & mask.any(0))
        for dim in (0, 1):
            line = mask.any(dim).tolist()
            starts = [index for index in range(32) if line[index] and (index == 0 or not line[index - 1])]
            ends = [index for index in range(32) if line[index] and (index == 31 or not line[index + 1])]
            (width,) = {end - start + 1 for start, end in zip(starts, ends, strict=True)}
            steps = {b - a for a, b in zip(starts, starts[1:], strict=False)}
            assert len(steps) == (len(starts) > 1) and steps <= {2 * width}
            strides |= steps
    assert strides == {8, 16}  # of cells of 4 and 8 px; one of 16 px stands alone


def test_random_cells_and_maes_ratio_are_whole_cells_anywhere():
    for stem, side, share in (('random-token', 8, 0.25), ('mae-ratio', 4, 0.75)):
        mask = masks(stem)
        cells = mask[:, ::side, ::side]
        assert torch.equal(mask, cells.repeat_interleave(side, 1).repeat_interleave(side, 2))
        assert (cells.float().mean(0) - share).abs().max() < 0.25  # of 160 masks: every cell, about as often


def test_blocks_hang_together_and_noise_has_the_size_of_its_color():
    contiguous = {stem: neighbours(masks(stem)[:, ::2, ::2]) for stem in ('block-mean', 'noise-red', 'noise-green')}
    contiguous |= {stem: neighbours(masks(stem)[:, ::2, ::2]) for stem in ('noise-blue', 'noise-purple')}
    assert contiguous['block-mean'] > contiguous['noise-red'] > contiguous['noise-green'] + 0.3
    assert contiguous['noise-green'] > contiguous['noise-blue'] + 0.3
    assert contiguous['noise-blue'] < 1  # fewer than the 0.99 of random cells


def test_random_masks_are_the_twins_of_noise_in_pre_training():
    simmim, noise = load('simmim_swin-narrow'), load('simmim-noise_swin-narrow')
    changed = differences(simmim.to_dict(), noise.to_dict()) - {'random_cells'}
    assert changed == {'train_pipeline', 'train_dataloader.dataset.pipeline'}
    ours, other = (
        next(step.pattern for step in cfg.train_pipeline if step.type == 'mmmaskany.PatternMask')
        for cfg in (simmim, noise)
    )
    assert (ours.type, other.type) == ('mmmaskany.RandomPattern', 'mmmaskany.NoisePattern')
    assert [step.type for step in simmim.train_pipeline] == [step.type for step in noise.train_pipeline]
    assert (ours.ratio, ours.cell, ours.base) == (other.ratio, other.cell, other.base)
    mae, noise = load('mae_vit-narrow'), load('mae-noise_vit-narrow')
    ours, other = mae.model.backbone.pattern, noise.model.backbone.pattern
    assert differences(mae.to_dict(), noise.to_dict()) == {f'model.backbone.pattern.{key}' for key in ('type', 'color')}
    assert (ours.type, ours.ratio, ours.cell, ours.base) == ('mmmaskany.RandomPattern', 0.75, other.cell, other.base)


def test_easy_to_hard_changes_the_scale_alone():
    cfg, twin = load('easy-to-hard_maskany-resnet18-narrow'), load('maskany_resnet18-narrow')
    assert differences(cfg.to_dict(), twin.to_dict()) == {'custom_hooks', 'model.backbone.masking.pattern.patterns'}
    (hook,) = (HOOKS.build(hook) for hook in cfg.custom_hooks)
    pattern = build_pattern(cfg.model.backbone.masking.pattern)
    assert pattern.share == hook.value(0, 8) == 0.25 and hook.value(7, 8) == 0.75
    pattern.share = 0.75
    draw = pattern.draw(200, 32, 32)
    assert draw.ratio[draw.masked].unique().tolist() == [0.5625]


def test_early_masks_end_before_training_does():
    cfg, twin = load('early_maskany-resnet18-narrow'), load('maskany_resnet18-narrow')
    assert differences(cfg.to_dict(), twin.to_dict()) == {'custom_hooks'}
    (hook,) = (HOOKS.build(hook) for hook in cfg.custom_hooks)
    assert [hook.value(epoch, 8) for epoch in range(8)] == [None] * 5 + [0] * 3


@recipes
def test_mixing_changes_the_batch_alone(recipe):
    mix, cut, plain = (load(f'{name}resnet18-narrow', recipe) for name in ('maskmix_', 'cutmix_', ''))
    for cfg in (mix, cut):
        assert differences(cfg.to_dict(), plain.to_dict()) == {'model.train_cfg'}
    # As much is mixed as MaskAny masks, by the same patterns; CutMix takes whole batches.
    masking = load('maskany_resnet18-narrow', recipe).model.backbone.masking
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
        run = Compose(pipeline_of(loader)[1:])  # the images are loaded
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
