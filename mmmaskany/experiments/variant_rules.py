# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The variants of a config of MaskAny, each by one rule: what 'noreuse' or 'unmasked' means, for any config.

``tools/misc/variant_configs.py`` writes the shipped ones, ``tools/analysis_tools/compare_methods.py`` those that it
compares, and ``mmmaskany finetune`` those of a network of your own.
"""

from __future__ import annotations

import functools
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.engine.checks.config import read_config
from mmmaskany.hub.model_index import index_root

#: AutoAugment's policies of data sets, by what their files are called; of others it is that of ImageNet.
_POLICIES = {'cifar': 'cifar10', 'digits': 'svhn'}
#: Characters of a line of a config.
_WIDTH = 120


class Rule(NamedTuple):
    """What a variant changes in a config.

    Args:
        what (str): What the variant is, in one or a few sentences.
        body (str): The changes, as the Python of a config.
        bases (tuple[Path, ...]): What it inherits from, beside the config. Defaults to ().
    """

    what: str
    body: str
    bases: tuple[Path, ...] = ()


def read_masking(cfg: Config) -> dict:
    """Find the masking of a config.

    Args:
        cfg (Config): The config.

    Returns:
        dict: ``pattern``, ``fill`` and ``reuse`` of ``model.backbone.masking``.

    Raises:
        ValueError: If the config does not mask in the model.
    """
    masking = cfg.model.backbone.get('masking')
    if not masking:
        raise ValueError(
            f'{cfg.filename} must mask in the model, with model.backbone.masking, but does not: of a plain, unmasked '
            'or pipeline variant give the config that it is a variant of; of a detector or segmentor write masking= '
            'into a config of your own first'
        )
    return masking


def _maskany(cfg: Config) -> Rule:
    return Rule('The config as it is.', '')


def _plain(cfg: Config) -> Rule:
    backbone = cfg.model.backbone
    if 'backbone' not in backbone:
        raise ValueError(
            f'the plain variant must be the network inside MaskAny, but {cfg.filename} has a {backbone.type} of its '
            'own: give both configs with --configs'
        )
    init = ', init_cfg=_base_.model.backbone.init_cfg' if backbone.get('init_cfg') else ''
    body = f'model = dict(backbone=dict(_delete_=True, **_base_.model.backbone.backbone{init}))'
    return Rule('Twin: the plain network, the same recipe.', body)


def _unmasked(cfg: Config) -> Rule:
    return Rule('Twin: the same network and recipe, nothing masked.', 'model = dict(backbone=dict(masking=None))')


def _reuse(cfg: Config, reuse: object, what: str) -> Rule:
    return Rule(what, f'model = dict(backbone=dict(masking=dict(reuse={reuse!r})))')


def _early(cfg: Config) -> Rule:
    """Mask in the first two thirds of the training."""
    epochs = cfg.train_cfg.get('max_epochs')
    length = epochs or cfg.train_cfg.max_iters
    if length < 2:
        raise ValueError(f'the early variant needs at least 2 epochs, but {cfg.filename} has {length}')
    unit = '' if epochs else ', by_epoch=False'
    hook = f"dict(type='mmmaskany.MaskScheduleHook', samples=(0.0, 0.0), begin={round(2 * length / 3)}{unit})"
    others = '*_base_.custom_hooks, ' if cfg.get('custom_hooks') else ''
    return Rule(
        'Early, then off: nothing is masked in the last third of the training.', f'custom_hooks = [{others}{hook}]'
    )


def _one_pattern(cfg: Config, kind: str, what: str) -> Rule:
    mixture = read_masking(cfg).pattern
    kinds = [pattern.type.removeprefix('mmmaskany.') for pattern in mixture.get('patterns', [])]
    if kind not in kinds:
        raise ValueError(f'{cfg.filename} must mix patterns, one of them a {kind}, but has {kinds or mixture.type}')
    only = f'_base_.model.backbone.masking.pattern.patterns[{kinds.index(kind)}]'
    body = f"""\
model = dict(
    backbone=dict(
        masking=dict(pattern=dict(patterns=[{only}], probs=[{round(sum(mixture.probs), 6)}])),
    ),
)"""
    return Rule(f'One pattern, {what}, in place of the mixture, in as many images.', body)


def _pipeline(cfg: Config) -> Rule:
    """Mask in the data pipeline, the paper's own networks as its code does."""
    if 'train_pipeline' not in cfg:
        raise ValueError(f'the pipeline variant needs a train_pipeline at the top of {cfg.filename}, but there is none')
    dataset, depth = cfg.train_dataloader.dataset, 1
    while 'dataset' in dataset:
        dataset, depth = dataset.dataset, depth + 1
    loads = cfg.train_pipeline[0].type == 'LoadImageFromFile'
    policy = next((policy for name, policy in _POLICIES.items() if name in str(dataset).lower()), 'imagenet')
    bgr = '' if cfg.data_preprocessor.to_rgb else ', bgr=False'

    what = "The same masks made in the data pipeline, in the reference's order: "
    pattern, bases = '_base_.model.backbone.masking.pattern', ()
    if 'backbone' not in cfg.model.backbone and (own := _reference_pattern(cfg)):
        what = "The masks of the paper's code, made in the data pipeline in its order: "
        pattern, bases = f'_base_.reference_patterns.{own}', (_reference_patterns(),)
    what += 'on the image as loaded, before the visible view is cropped or resized; the reused view of unmasked '
    what += 'samples gets AutoAugment.'

    model = 'backbone=dict(masking=None)'
    augments = (cfg.model.get('train_cfg') or {}).get('augments') or []
    if any(augment.type == 'CutMix' for augment in augments):
        kept = [index for index, augment in enumerate(augments) if augment.type != 'CutMix']
        names = ', '.join(f'_base_.model.train_cfg.augments[{index}]' for index in kept)
        model += f', train_cfg=dict(augments=[{names}])'
        what += ' Without the CutMix of the recipe: a rectangle of the visible view has no counterpart in the '
        what += 'recomposed one.' + (' Mixup stays, the same for both views.' if kept else '')
    load, rest = ("    dict(type='LoadImageFromFile'),\n", '[1:-1]') if loads else ('', '[:-1]')
    body = f"""\
train_pipeline = [
{load}    dict(type='mmmaskany.MaskRegions', pattern={pattern}),
    *_base_.train_pipeline{rest},
    dict(type='mmmaskany.AugmentReused', policy={policy!r}{bgr}),
    dict(type='mmmaskany.PackMaskAnyInputs'),
]
train_dataloader = {'dict(dataset=' * depth}dict(pipeline=train_pipeline{')' * (depth + 1)}
data_preprocessor = dict(type='mmmaskany.MaskAnyDataPreprocessor')
model = dict({model})"""
    return Rule(what, body, bases)


def _reference_patterns() -> Path:
    return index_root() / 'configs/_base_/reference_patterns.py'


def _reference_pattern(cfg: Config) -> str | None:
    """Name the mixture that the paper's code has for the data set in the name of a config, if it has one."""
    data = Path(cfg.filename).stem.rsplit('_')[-1].replace('-', '_')
    return data if data in Config.fromfile(_reference_patterns()).reference_patterns else None


#: The rules by the names of the variants.
RULES: dict[str, Callable[[Config], Rule]] = {
    'maskany': _maskany,
    'plain': _plain,
    'unmasked': _unmasked,
    'noreuse': functools.partial(
        _reuse,
        reuse=False,
        what='Twin: the same masks, but what they hide is lost (GridMask, Cutout): the reused view is the visible '
        'image at half size.',
    ),
    'aligned': functools.partial(
        _reuse,
        reuse='aligned',
        what="The second stem's features are put back where their cells came from.",
    ),
    'in-place': functools.partial(
        _reuse,
        reuse='in_place',
        what='What is masked is seen at half the resolution where it is, not stitched together.',
    ),
    'early': _early,
    'patch': functools.partial(_one_pattern, kind='PatchPattern', what='one patch'),
    'grid': functools.partial(_one_pattern, kind='GridPattern', what='a grid of cells'),
    'random': functools.partial(_one_pattern, kind='RandomPattern', what='cells anywhere'),
    'pipeline': _pipeline,
}


def variant_text(name: str, config: Path, folder: Path) -> str:
    """Write a variant of a config as a config that inherits from it.

    Args:
        name (str): One of :data:`RULES`.
        config (Path): The config, which masks in the model.
        folder (Path): Where the variant will lie.

    Returns:
        str: What it is in a comment, ``_base_`` and the changes.

    Raises:
        KeyError: If there is no such variant.
        ValueError: If the config cannot be read, does not mask in the model, or has not what the variant needs.
    """
    if name not in RULES:
        raise KeyError(f'a variant must be one of {", ".join(RULES)}, but got {name!r}')
    cfg = read_config(str(config))
    read_masking(cfg)
    what, body, bases = RULES[name](cfg)
    paths = [Path(os.path.relpath(path, folder)).as_posix() for path in (config, *bases)]
    paths = [path if path.startswith('.') else f'./{path}' for path in paths]
    comment = textwrap.fill(what, _WIDTH, initial_indent='# ', subsequent_indent='# ', break_on_hyphens=False)
    changes = f'\n{body}\n' if body else ''
    return f'{comment}\n_base_ = {paths if bases else paths[0]!r}\n{changes}'


def keep_config(path: Path, text: str) -> Path:
    """Write the config of a variant, unless it is there.

    Args:
        path (Path): Where to.
        text (str): The config.

    Returns:
        Path: The same path.

    Raises:
        ValueError: If there is another config already, whose runs these would be mixed with.
    """
    if path.is_file() and path.read_text() != text:
        raise ValueError(
            f'{path} must be what this command trains, but is another config: the config or an option has changed '
            'since; choose another work dir'
        )
    atomic_write(path, text.encode())
    return path
