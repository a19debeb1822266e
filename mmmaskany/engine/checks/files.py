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


def check_present(key: str, paths: Iterable[Path]) -> list[Finding]:
    """Make sure that files are there and not empty.

    Args:
        key (str): The config key of the dataset.
        paths (Iterable[Path]): The files.

    Returns:
        list[Finding]: Errors, which say what else has the names of files that are missing.
    """
    missing, empty = [], []
    for path in paths:
        try:
            if not os.stat(path).st_size:
                empty.append(str(path))
        except (FileNotFoundError, NotADirectoryError):
            missing.append(str(path))
        except ValueError:  # a null character
            missing.append(repr(str(path)))
    found = []
    if missing:
        text = f'files must exist, but {len(missing)} are missing: {first(missing)}{_alike(Path(missing[0]))}'
        found.append(Finding('error', key, text, FileNotFoundError))
    if empty:
        found.append(Finding('error', key, f'files must not be empty, but {len(empty)} are: {first(empty)}'))
    return found


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


def unread_images(root: Path, read: Iterable[Path]) -> list[str]:
    """List the images below a folder that are not among those that are read.

    Args:
        root (Path): The folder.
        read (Iterable[Path]): What is read.

    Returns:
        list[str]: Their paths, relative to the folder.
    """
    suffixes, names = image_suffixes(), {os.path.normpath(path) for path in read}
    left = []
    for place, _, files in os.walk(root):
        for name in files:
            path = os.path.normpath(os.path.join(place, name))
            if path not in names and not name.startswith('.') and os.path.splitext(name)[1].lower() in suffixes:
                left.append(os.path.relpath(path, root))
    return sorted(left)


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
