# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The files of a data set: whether they are there, and which of a folder nobody reads."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mmengine.config import ConfigDict
from PIL import Image

from .finding import Finding, first

#: Of how many files of a set it is looked up whether they are empty.
SIZES = 20_000
_Item = TypeVar('_Item')


def folder(dataset: ConfigDict, name: str | None) -> Path:
    """Return a folder or file of a dataset, as MMEngine joins it.

    Args:
        dataset (ConfigDict): Its config.
        name (str, optional): The name below ``data_root``.

    Returns:
        Path: The path.
    """
    return Path(os.path.join(dataset.get('data_root') or '', name or '')).expanduser()


def check_present(key: str, paths: Iterable[str | Path]) -> list[Finding]:
    """Make sure that files are there, and that they are not empty: of many, of an evenly spread part.

    Args:
        key (str): The config key of the dataset.
        paths (Iterable[str | Path]): The files.

    Returns:
        list[Finding]: Errors, which say what else has the names of files that are missing.
    """
    paths = [*map(str, paths)]
    listings: dict[str, set[str]] = {}
    missing, found = [], []
    for path in paths:
        folder, _, name = path.rpartition('/')
        if folder not in listings:
            listings[folder] = _names(folder or '/' * path.startswith('/'))
        if name not in listings[folder]:
            missing.append(path)
    missing = [path for path in missing if not os.path.exists(path)]  # such as on a disk that knows no case
    if missing:
        text = f'files must exist, but {len(missing)} are missing: {first(missing)}{_alike(Path(missing[0]))}'
        found.append(Finding('error', key, text, FileNotFoundError))
    gone = set(missing)
    empty = [path for path in paths[:: max(1, len(paths) // SIZES)] if path not in gone and not os.stat(path).st_size]
    if empty:
        found.append(Finding('error', key, f'files must not be empty, but {len(empty)} are: {first(empty)}'))
    return found


def _names(folder: str) -> set[str]:
    """List what is in a folder, nothing where there is none."""
    try:
        return set(os.listdir(folder or '.'))
    except (OSError, ValueError):  # a null character
        return set()


def _alike(path: Path) -> str:
    """Say which file may be meant in place of a missing one: of another suffix or case, or below another folder."""
    if '\\' in path.name:
        return r"; folders are divided by '/', not by '\'"
    try:
        stem = path.stem.lower()
        near = sorted(item.name for item in os.scandir(path.parent) if os.path.splitext(item.name)[0].lower() == stem)
    except OSError:
        return ''
    return f'; {path.parent} holds {first(near)}' if near else ''


def image_suffixes() -> frozenset[str]:
    """Return the suffixes of files that Pillow reads as images, with their dots, in small letters."""
    Image.init()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN) - {'.pdf'}


def unread_images(root: Path, read: Iterable[str | Path]) -> list[str]:
    """List the images below a folder that are not among those that are read.

    Args:
        root (Path): The folder.
        read (Iterable[str | Path]): What is read.

    Returns:
        list[str]: Their paths, relative to the folder.
    """
    suffixes, known = image_suffixes(), {*map(str, read)}
    left = []
    for place, _, files in os.walk(root):
        for name in files:
            path = os.path.join(place, name)
            if path not in known and not name.startswith('.') and os.path.splitext(name)[1].lower() in suffixes:
                left.append(path)
    if left:  # names may be written in several ways
        known = {*map(os.path.normpath, known)}
    return sorted(os.path.relpath(path, root) for path in left if os.path.normpath(path) not in known)


def by_suffix(names: Iterable[str]) -> str:
    """Count names by their suffixes, such as ``'5 .webp, 4 .tif'``."""
    counts = Counter(os.path.splitext(name)[1] for name in names)
    return ', '.join(f'{count} {suffix}' for suffix, count in counts.most_common(6))


def spread(items: Sequence[_Item], seconds: float) -> Iterator[_Item]:
    """Yield items evenly spread over a sequence until some seconds are over, the first one in any case.

    Args:
        items (Sequence): The items.
        seconds (float): For how long.

    Yields:
        object: An item.
    """
    golden = (5**0.5 - 1) / 2  # its multiples, modulo 1, are spread evenly wherever one stops
    end = time.monotonic() + seconds
    for index in sorted(range(len(items)), key=lambda index: index * golden % 1):
        yield items[index]
        if time.monotonic() > end:
            return
