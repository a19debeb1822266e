# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Breaks shipped configs, one value at a time, and finds out what becomes of them."""

import contextlib
import copy
import inspect
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, MODELS, TASK_UTILS, TRANSFORMS, init_default_scope
from shipped import ROOT, load, shrink

from mmmaskany.engine.checks.config import _COUNT, _SHARE, _constructors, check_config, options

CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
#: What is broken in a config: its model, and the data that it is trained on.
PARTS = {'model': (MODELS, TASK_UTILS), 'train_dataloader.dataset': (DATASETS, TRANSFORMS)}
KINDS = ('type', 'range', 'name', 'missing')
OUTCOMES = ('named', 'unnamed', 'unnoticed')
#: Numbers and texts that options of ours cannot be.
_RANGES = dict(
    scale=1.5,
    ratio=-0.2,
    cell=0,
    base=0,
    patience=-1,
    aspect=(3.0, 1.0),
    sigma=-1.0,
    reused_weight=-1.0,
    visible_weight=-1.0,
    pad_size_divisor=0,
)
_CHOICES = ('arch', 'bgr', 'color', 'curve', 'fuse_at', 'fusion', 'out_type', 'policy', 'style', 'sub_norm', 'targets')


class Break(NamedTuple):
    """One value of a config that is broken.

    Args:
        path (Path): The config.
        part (str): Key of what is built of it.
        keys (tuple): The keys and indices that lead from there to the dict of options.
        option (str): The option.
        kind (str): 'type' (a value of another kind), 'range' (a value that cannot be), 'name' (a name that does not
            exist) or 'missing'.
        maker (str): Module and name of the class that takes it.
        words (tuple[str, ...]): What an error may name it by.
        value (object): The new value, or the option's new name.
    """

    path: Path
    part: str
    keys: tuple
    option: str
    kind: str
    maker: str
    words: tuple[str, ...]
    value: object = None

    @property
    def ours(self) -> bool:
        return self.maker.startswith('mmmaskany')

    def __str__(self) -> str:
        key = '.'.join(map(str, (self.part, *self.keys, self.option)))
        return f'{self.path.stem}: {key} ({self.maker.rpartition(".")[2]}) {self.kind} {self.value!r}'


def breaks(path: Path) -> Iterator[Break]:
    """List what can be broken in a config: every option of everything that has a type."""
    cfg = load(path)
    init_default_scope(cfg.default_scope)
    for part, registries in PARTS.items():
        node = _descend(cfg, part.split('.'))
        for place, given, maker in options(node, part, registries):
            keys = tuple(int(key) if key.isdigit() else key for key in place.split('.')[len(part.split('.')) :])
            where = path, part, keys
            name = f'{maker.__module__}.{maker.__name__}'
            parameters = {}
            for function in _constructors(maker):
                parameters = {**inspect.signature(function).parameters, **parameters}
            if 'type' in given:  # masking has none
                yield Break(*where, 'type', 'missing', name, ('type',))
            if isinstance(given.get('type'), str):
                wrong = given['type'][:-1] + '_'
                yield Break(*where, 'type', 'name', name, (wrong, wrong.rpartition('.')[2]), wrong)
            for option, value in given.items():
                if option in parameters and option not in ('type', '_scope_'):
                    yield from _of_option(where, option, value, parameters[option], name)


def _of_option(where: tuple, option: str, value: object, parameter: inspect.Parameter, maker: str) -> Iterator[Break]:
    def broken(kind, new=None, words=(option,)):
        return Break(*where, option, kind, maker, words, new)

    typo = f'{option}_x'
    # The option that is now missing may be named as well.
    yield broken('name', typo, (typo, option))
    if parameter.default is parameter.empty:
        yield broken('missing')
    if isinstance(value, bool):
        yield broken('type', 'perhaps')
    elif isinstance(value, (int, float)):
        yield broken('type', 'many')
        if _COUNT.search(option):
            yield broken('range', -3)
        elif _SHARE.search(option):
            yield broken('range', 1.5)
    elif isinstance(value, str):
        yield broken('type', 7)
        if option in _CHOICES:
            yield broken('range', 'no-such')
    elif isinstance(value, Mapping) and 'type' in value:
        yield broken('type', 3)
    elif isinstance(value, Sequence):
        yield broken('type', 'several')
    if maker.startswith('mmmaskany') and option in _RANGES:
        yield broken('range', _RANGES[option])
    if option == 'probs':
        yield broken('range', [0.9] * len(value) + [0.9])


def choose(paths: Sequence[Path], libraries: int | None = None) -> list[Break]:
    """Choose what to break: every option of every class in every way once, each in a config that its name decides.

    A config that is not among them gets a break of its own.

    Args:
        paths (Sequence[Path]): The configs.
        libraries (int, optional): How many breaks of the libraries' classes to take. Defaults to None, all.

    Returns:
        list[Break]: The same ones in every run.
    """
    found: dict[tuple, list[Break]] = {}
    everything: dict[Path, list[Break]] = {}
    for path in paths:
        everything[path] = list(breaks(path))
        for one in everything[path]:
            found.setdefault((one.maker, one.option, one.kind), []).append(one)
    chosen = [several[_number(key) % len(several)] for key, several in found.items()]
    ours, theirs = ([one for one in chosen if one.ours == own] for own in (True, False))
    theirs = sorted(theirs, key=lambda one: _number(str(one)))[:libraries]
    left_out = [path for path in everything if path not in {one.path for one in ours + theirs}]
    return ours + theirs + [everything[path][_number(path.stem) % len(everything[path])] for path in left_out]


def _number(key: object) -> int:
    return zlib.crc32(str(key).encode())


def _descend(node, keys):
    for key in keys:
        node = node[key]
    return node


def outcome(one: Break) -> tuple[str, str]:
    """Break a config, check and build what is broken as the tools do, and tell what became of it.

    Returns:
        tuple[str, str]: One of ``OUTCOMES``, and the error.
    """
    source = load(one.path)
    cfg = {key: copy.deepcopy(source._cfg_dict[key]) for key in ('default_scope', one.part.split('.')[0])}
    node = _descend(_descend(cfg, one.part.split('.')), one.keys)
    if one.kind == 'missing':
        del node[one.option]
    elif one.kind == 'name' and one.option != 'type':
        node[one.value] = node.pop(one.option)
    else:
        node[one.option] = one.value
    init_default_scope(source.default_scope)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            check_config(Config(cfg))
            _build(cfg, one, source)
    except Exception as error:
        texts = []
        while error is not None:
            texts.append(f'{type(error).__name__}: {error}')
            error = error.__cause__
        text = '\n'.join(texts)
        named = any(re.search(rf'(?<!\w){re.escape(word)}(?!\w)', text) for word in one.words)
        return ('named' if named else 'unnamed'), text
    return 'unnoticed', ''


def _build(cfg: dict, one: Break, source: Config) -> None:
    if one.part != 'model':
        dataset = _descend(cfg, one.part.split('.'))
        if 'pipeline' in one.keys:  # without the data, which is not here
            Compose(_descend(dataset, one.keys[: one.keys.index('pipeline') + 1]))
        else:
            DATASETS.build(_lazy(dataset))
        return
    model = cfg['model'].to_dict()
    if 'data_preprocessor' in source:
        model.setdefault('data_preprocessor', source.data_preprocessor.to_dict())
    small = model
    if one.kind != 'missing':
        with contextlib.suppress(Exception):  # it may be broken where it would be made smaller
            small, _ = shrink(model)
    MODELS.build(Config(small)._cfg_dict)


def _lazy(dataset: Mapping) -> dict:
    """Let a dataset not read its data when it is built; of mmpretrain's KFoldDataset the inner one has to say so."""
    kept = {key: value for key, value in dataset.items() if key != 'classes'}
    if kept.get('type') != 'KFoldDataset':
        return {**kept, 'lazy_init': True}
    return {
        key: _lazy(value) if key == 'dataset' and isinstance(value, Mapping) else value for key, value in kept.items()
    }


def table(results: Sequence[tuple[Break, str]]) -> str:
    """Count what became of breaks, as a Markdown table."""
    titles = ['options of', 'broken', 'configs broken', 'error names it', 'another error', 'no error']
    lines = [titles, ['---'] * len(titles)]
    for ours, whose in ((True, 'mmmaskany'), (False, 'OpenMMLab and PyTorch')):
        for kind in KINDS:
            got = [result for one, result in results if one.ours == ours and one.kind == kind]
            lines.append([whose, kind, len(got), *map(got.count, OUTCOMES)])
    everything = [result for _, result in results]
    lines.append(['all', '', len(everything), *map(everything.count, OUTCOMES)])
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)
