# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The models of this project by their names, as the metafiles list them."""

from __future__ import annotations

import difflib
import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml


class Resolved(NamedTuple):
    """Where a model is, in the order in which the libraries' inferencers take it.

    Args:
        config (str): Path of the config.
        checkpoint (str | None): Path or address of the published checkpoint, None where there is none.
    """

    config: str
    checkpoint: str | None


def index_root() -> Path:
    """Return the folder of ``model-index.yml`` and ``configs``: the checkout, or what an installed wheel carries.

    Returns:
        Path: The folder.

    Raises:
        FileNotFoundError: If the package came without them.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package.parent, package / '.mim'):
        if (root / 'model-index.yml').is_file() and (root / 'configs').is_dir():
            return root
    raise FileNotFoundError(
        f'model-index.yml and configs must be beside the package or in {package / ".mim"}, but are in neither: '
        'install mmmaskany anew'
    )


def load_models(root: Path | None = None) -> list[dict]:
    """Read the models of all metafiles that ``model-index.yml`` imports.

    Args:
        root (Path, optional): Folder of ``model-index.yml``. Defaults to that of this package.

    Returns:
        list[dict]: Their entries, in the order of the files; ``Folder`` is the metafile's.
    """
    root = index_root() if root is None else root
    index = yaml.safe_load((root / 'model-index.yml').read_text())
    models = []
    for path in map(Path, index['Import']):
        metafile = yaml.safe_load((root / path).read_text())
        models += [dict(model, Folder=str(path.parent)) for model in metafile['Models']]
    return models


@functools.cache
def _models() -> dict[str, dict]:
    return {model['Name'].lower(): model for model in load_models()}


def resolve(name: str) -> Resolved:
    """Find a model by its name.

    MMEngine's inferencers find names of OpenMMLab's own packages only; they all take a config and a checkpoint. The
    loading of checkpoints is protected from here on, see :func:`mmmaskany.checkpoints.protection.protect`.

    Args:
        name (str): Name of a model, which is that of its config, in any case of letters.

    Returns:
        Resolved: Its config, and its checkpoint where one is published.

    Raises:
        ValueError: If there is no such model; the message names those that are spelled alike.

    Example:
        >>> config, checkpoint = resolve('faster-rcnn_maskany-r50_fpn_1x_coco')
        >>> Path(config).name, checkpoint
        ('faster-rcnn_maskany-r50_fpn_1x_coco.py', None)
    """
    from mmmaskany.checkpoints.protection import protect  # which imports torch, and `mmmaskany list` needs none

    protect()
    model = _models().get(str(name).lower())
    if model is None:
        alike = spelled_alike(str(name), _models())
        raise ValueError(
            f'name must be that of a model in model-index.yml, but got {name!r}; '
            + (f'spelled alike are {", ".join(alike)}, ' if alike else '')
            + '`mmmaskany list` has all'
        )
    weights = model.get('Weights')
    return Resolved(str(index_root() / model['Config']), weights[0] if isinstance(weights, list) else weights)


def split_header(config: str) -> tuple[str, str, str]:
    """Split the text of a config at what the comment at its beginning says of results.

    Args:
        config (str): The text.

    Returns:
        tuple[str, str, str]: The comment, its paragraph of results or nothing, and all that follows.
    """
    header = re.match('(#.*\n)*', config)[0]
    comment, mark, measured = header.partition('#\n# Measured: ')
    return comment, mark + measured, config.removeprefix(header)


def write_generated(texts: Mapping[Path, str], check: bool = False, root: Path | None = None) -> int:
    """Write files that are made by a script, where they are not so already, and name them.

    Args:
        texts (Mapping[Path, str]): What each file must hold.
        check (bool): Whether to name only what would change. Defaults to False.
        root (Path, optional): The folder that they are named from. Defaults to None, by their whole paths.

    Returns:
        int: The exit status: 1 where a check found a file that is out of date.
    """
    outdated = [path for path, text in texts.items() if not path.is_file() or path.read_text() != text]
    for path in outdated:
        if not check:
            path.write_text(texts[path])
        print(f'{"out of date" if check else "wrote"}: {path.relative_to(root) if root else path}')
    return 1 if check and outdated else 0


def spelled_alike(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Find the names that are most like one: that share most of its words and numbers, then by their letters.

    Args:
        name (str): What was asked for.
        names (Iterable[str]): What there is.
        count (int): How many at most. Defaults to 3.

    Returns:
        list[str]: The nearest first; nothing where none is alike.
    """
    own = _words(name)

    def likeness(other: str) -> tuple[float, float]:
        words = _words(other)
        shared = 2 * (own & words).total() / max(1, own.total() + words.total())
        return shared, difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()

    ranked = sorted(((likeness(other), other) for other in names), reverse=True)
    return [other for (shared, letters), other in ranked if shared >= 0.3 or letters >= 0.5][:count]


def _words(name: str) -> Counter[str]:
    return Counter(re.findall(r'[a-z]+|\d+', name.lower()))


def measured(model: dict, metric: str) -> str:
    """Format a measured metric with its spread over seeds, or nothing.

    Args:
        model (dict): Its entry, see :func:`load_models`.
        metric (str): Name of the metric in metafiles, such as 'Top 1 Accuracy'.

    Returns:
        str: Such as '98.87 ± 0.28'; empty where it was not measured.
    """
    for result in model['Results']:
        value = (result.get('Metrics') or {}).get(metric)
        if value is not None:
            spread = (result.get('Standard Deviation') or {}).get(metric)
            return f'{value:.2f}' if spread is None else f'{value:.2f} ± {spread:.2f}'
    return ''


def measured_on(model: dict) -> str:
    """Say on what, and with how many seeds, a model was measured, or nothing.

    Args:
        model (dict): Its entry, see :func:`load_models`.

    Returns:
        str: Such as '2 CPU cores, 3 seeds'; empty where nothing was measured.
    """
    seeds = model['Results'][0].get('Seeds')
    parts = [model['Metadata'].get('Training Resources'), f'{seeds} seed{"s" * (seeds > 1)}' if seeds else None]
    return ', '.join(part for part in parts if part)
