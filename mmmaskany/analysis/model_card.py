# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Show what a model costs, what it masks and what was measured.

NAME is one of `mmmaskany list`, a config, or what a training wrote.

    mmmaskany show maskany_resnet18-narrow_1xb32-coslr-8e_digits
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from rich.console import Console
from rich.table import Table

from mmmaskany.hub.model_index import index_root, load_models, measured_on, resolve


class Card(NamedTuple):
    """What is known of a model.

    Args:
        name (str): Its name.
        config (str): Path of its config.
        library (str): 'mmpretrain', 'mmdet' or 'mmseg'.
        size (tuple[int, int]): Height and width of the image that its costs are of, in px.
        costs (dict[str, dict[str, int]]): ``parameters`` and ``macs`` of ``backbone``, ``reused stem`` and ``total``.
        masks (list[str]): What masks in training, and how much.
        measured (list[str]): What was measured of a shipped model, or what the last validation of a training was; empty
            where nothing was.
    """

    name: str
    config: str
    library: str
    size: tuple[int, int]
    costs: dict[str, dict[str, int]]
    masks: list[str]
    measured: list[str]


def show(name: str | os.PathLike, size: tuple[int, int] | None = None) -> Card:
    """Find out what a model costs, what it masks and what was measured.

    Args:
        name (str | os.PathLike): A name that :func:`mmmaskany.hub.resolve` knows, a config, or a training's folder.
        size (tuple[int, int] | None): Height and width of the image in px. Defaults to None, that of the
            test data.

    Returns:
        Card: What is known of it.

    Raises:
        FileNotFoundError: If the folder holds no training.
        ValueError: If there is no such model, or its config is of no such library.
    """
    import torch
    from mmengine.registry import MODELS, init_default_scope

    from mmmaskany.engine.checks.config import read_config
    from mmmaskany.inference.samples import SIZES, image_size
    from mmmaskany.inference.trained import find_run, read_scalars

    from .costs import count

    path, run = Path(name).expanduser(), None
    if path.is_dir():
        run = find_run(path)
        path = run.config
    elif path.suffix != '.py':
        path = Path(resolve(str(name)).config)
    elif not path.is_file():
        raise FileNotFoundError(
            f'NAME must be a model, a config or the folder of a training, but {path} does not exist'
        )
    cfg = read_config(str(path))
    library = cfg.get('default_scope')
    if library not in SIZES or 'model' not in cfg:
        raise ValueError(f'{path} must be the config of a network, with default_scope in {list(SIZES)} and a model')
    size = tuple(size or image_size(cfg))
    if min(size) < 1:
        raise ValueError(f'--shape must be positive, but got {size[0]} {size[1]}')
    init_default_scope(library)
    torch.manual_seed(0)
    costs = count(MODELS.build(cfg.model), library, size)
    measured = _measured_in(read_scalars(run.folder)) if run else _measured_of(path)
    return Card(path.stem, str(path), library, size, costs, list(_masks(cfg, size)), measured)


def _measured_in(records: list[dict]) -> list[str]:
    """Say what the last validation of a training was; it is logged without a learning rate."""
    from mmmaskany.inference.trained import metrics_of

    last = next((record for record in reversed(records) if 'lr' not in record), {})
    return [
        f'{metric} {value:.4g} (the last validation of this training, at {last["step"]})'
        for metric, value in metrics_of(last).items()
    ]


def _measured_of(config: Path) -> list[str]:
    """Say what was measured of a shipped config; a config of the same name elsewhere is another one."""
    lines = []
    for model in load_models():
        if config.resolve() != (index_root() / model['Config']).resolve():
            continue
        for result in model['Results']:
            spreads = result.get('Standard Deviation') or {}
            for metric, value in (result.get('Metrics') or {}).items():
                if value is not None:
                    spread = f' ± {spreads[metric]:.2f}' if metric in spreads else ''
                    where = ', '.join(filter(None, (result['Dataset'], measured_on(model))))
                    lines.append(f'{metric} {value:.2f}{spread} ({where})')
    return lines


def _masks(cfg: Config, size: tuple[int, int]) -> Iterator[str]:
    """Say what masks, in the model and in the pipeline of its training data."""
    for key in ('model', 'train_dataloader'):
        for where, node in _with_pattern(cfg.get(key), key):
            yield f'{where}: {_describe(node, size)}'


def _with_pattern(node: object, key: str) -> Iterator[tuple[str, dict]]:
    """Yield the parts of a config that have a pattern, with their keys."""
    if isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _with_pattern(child, f'{key}.{index}')
    elif isinstance(node, dict):
        if isinstance(node.get('pattern'), dict):
            yield key, node
        for name, child in node.items():
            yield from _with_pattern(child, f'{key}.{name}')


def _describe(node: dict, size: tuple[int, int]) -> str:
    """Say in words which share of which images is masked, how, and what becomes of it."""
    from mmmaskany.models.algebra import build_pattern

    from .named_patterns import masked_share

    pattern = build_pattern(node['pattern'])
    parts, probs = getattr(pattern, 'patterns', [pattern]), getattr(pattern, 'probs', [1.0])
    said = []
    for part, prob in zip(parts, probs, strict=True):
        try:
            share = f'{masked_share(part, *size):.0%}'
        except ValueError:  # cells of several sizes mask a little more or less
            share = f'about {part.scale**2 if part.ratio is None else part.ratio:.0%}'
        said.append(f'{prob:.0%} of the images by {part.name}, {share} of each')
    fill = node.get('fill')
    fill = fill.get('type', '').removeprefix('mmmaskany.') if isinstance(fill, dict) else 'ConstantFill'
    reuse = node.get('reuse')
    kept = '' if reuse is None else f', reuse={reuse!r}'
    return f'{"; ".join(said)}; {fill}{kept}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('name', metavar='NAME', help='a model, a config or the folder of a training')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the image in px (default: that of the test data)',
    )


def main(args: argparse.Namespace) -> int:
    """Print the card and return the exit code."""
    from mmmaskany.inference.trained import quietly

    warnings.simplefilter('ignore')
    with quietly():
        card = show(args.name, args.shape)
    console = Console(highlight=False)
    console.print(card.name, style='bold', markup=False, soft_wrap=True)
    console.print(card.config, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column(f'at {card.size[0]} x {card.size[1]} px')
    for title in ('parameters', 'MACs'):
        table.add_column(title, justify='right')
    for name, row in card.costs.items():
        part = 'reused stem and fusion, in it' if name == 'reused stem' else name
        table.add_row(part, f'{row["parameters"]:,}', f'{row["macs"] / 1e9:.3f} G')
    console.print(table)
    for title, lines, none in (
        ('masks in training', card.masks, 'nothing'),
        ('measured', card.measured, 'nothing yet'),
    ):
        console.print(f'{title}:', style='bold')
        for line in lines or [none]:
            console.print(f'  {line}', markup=False, soft_wrap=True)
    return 0
