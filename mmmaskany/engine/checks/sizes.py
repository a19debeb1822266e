# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Images as they are loaded, compared with what is annotated: whether they can be read, their size, their turn.

A photo may say by its EXIF orientation that it is to be turned, and OpenCV and Pillow turn it when it is loaded. Who
annotated the pixels as they are stored then trains on boxes and maps beside the objects.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np
from PIL import Image

from .files import spread
from .finding import Finding, first
from .images import check_depth

#: For how many seconds headers of images are read before a run, evenly spread over the set.
SECONDS = 1
_ORIENTATION = 0x0112  # the EXIF tag
_WAY_OUT = "dict(type='LoadImageFromFile', color_type='color_ignore_orientation') loads them as they are stored"


class Loading(NamedTuple):
    """How images are loaded, by the options of ``LoadImageFromFile``."""

    color_type: str = 'color'
    backend: str = 'cv2'

    def load(self, path: str | os.PathLike) -> np.ndarray:
        """Load an image as the pipeline does."""
        image = mmcv.imfrombytes(Path(path).read_bytes(), flag=self.color_type, backend=self.backend)
        if image is None:
            raise OSError(f'{path} cannot be decoded')
        return image


def loading_of(pipeline: Sequence[dict] | None) -> Loading | None:
    """Read from a pipeline how it loads images.

    Args:
        pipeline (Sequence[dict], optional): The configs of its transforms.

    Returns:
        Loading | None: None where it does not use ``LoadImageFromFile``.
    """
    for step in pipeline or ():
        if isinstance(step, dict) and str(step.get('type')).rpartition('.')[2].rstrip("'>") == 'LoadImageFromFile':
            return Loading(step.get('color_type', 'color'), step.get('imdecode_backend', 'cv2'))
    return None


class _Look(NamedTuple):
    stored: tuple[int, int]
    loaded: tuple[int, int]
    orientation: int
    turned: bool


def look(path: str | os.PathLike, loading: Loading, seen: set) -> _Look:
    """Look at the header of an image, and at its pixels where that is needed to know how it is loaded.

    Args:
        path (str | os.PathLike): The image.
        loading (Loading): How it will be loaded.
        seen (set): The types and modes of files that are known to load; what is new is added.

    Returns:
        _Look: Its size as stored and as loaded, both (height, width), its EXIF orientation, and whether it is turned.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        with Image.open(path) as image:
            stored, kind = image.size[::-1], (image.format, image.mode)
            orientation = image.getexif().get(_ORIENTATION, 1)
    except Image.UnidentifiedImageError:  # OpenCV reads some types that Pillow does not
        stored, kind, orientation = None, None, 1
    if orientation == 1 and kind in seen:
        return _Look(stored, stored, 1, False)
    pixels = loading.load(path)
    seen.add(kind)
    loaded = pixels.shape[:2]
    turned = orientation != 1 and stored is not None
    if turned and loaded == stored:
        plain = mmcv.imfrombytes(Path(path).read_bytes(), flag='color_ignore_orientation')
        turned = loading.color_type == 'color' and not np.array_equal(plain, pixels)
    return _Look(stored or loaded, loaded, orientation, turned)


def check_sizes(
    key: str, sizes: Sequence[tuple[Path, tuple[float, float]]], loading: Loading, source: str
) -> list[Finding]:
    """Compare images as they are loaded with the sizes that were annotated.

    Args:
        key (str): The config key of the dataset, for the findings.
        sizes (Sequence[tuple[Path, tuple[float, float]]]): Images, and their annotated heights and widths.
        loading (Loading): How they are loaded.
        source (str): What gives the sizes.

    Returns:
        list[Finding]: Errors where sizes differ, a warning where photos are turned by half.
    """
    say = [*check_depth(key, [path for path, _ in sizes], loading.color_type)]
    as_stored, as_turned, other, halves, follows, broken, seen, count = [], [], [], [], 0, [], set(), 0
    for path, (height, width) in spread(sizes, SECONDS):
        count += 1
        try:
            found = look(path, loading, seen)
        except Exception as error:  # whatever a decoder raises
            broken.append(f'{path} ({type(error).__name__}: {error})' if len(broken) < 3 else path)
            continue
        expected = height, width
        text = f'{path} is {found.loaded[1]} x {found.loaded[0]} px and annotated as {width:g} x {height:g}'
        if _same(found.loaded, expected):
            if found.orientation > 4 and found.turned and not _same(found.stored, expected):
                follows += 1
            elif found.turned:
                halves.append(path)
        elif _same(found.stored, expected):
            as_stored.append(text)
        elif found.orientation > 4 and _same(found.stored[::-1], expected):
            as_turned.append(text)
        else:
            other.append(text)
    of = f'of {count} images that were looked at' if count < len(sizes) else f'of {count} images'
    if broken:
        hint = f'; {_reader(broken[0])}' if loading.backend == 'cv2' else ''
        text = (
            f'images must be images that {loading.backend} reads, but {len(broken)} {of} are not: {first(broken)}{hint}'
        )
        say.append(Finding('error', key, text))
    if as_stored:
        also = f', and {len(halves)} that are turned by half or mirrored' if halves else ''
        text = (
            f'images must be loaded as they were annotated, but {len(as_stored)} {of} are turned when they are loaded, '
            f'as their EXIF orientation says{also}, while {source} gives the size as stored: '
            f'{first(as_stored)}. {_WAY_OUT}'
        )
        say.append(Finding('error', key, text))
    elif halves and not follows:
        text = (
            f'{len(halves)} {of} are turned by half or mirrored when they are loaded, as their EXIF orientation says: '
            f'{first(halves)}. If they were annotated as stored, {_WAY_OUT}'
        )
        say.append(Finding('warning', key, text))
    if as_turned:
        text = (
            f'images must be loaded as they were annotated, but {len(as_turned)} {of} were annotated as their EXIF '
            f'orientation turns them, and color_type={loading.color_type!r} does not: {first(as_turned)}. '
            "color_type='color' turns them"
        )
        say.append(Finding('error', key, text))
    if other:
        text = (
            f'images must have the size that {source} gives, but {len(other)} {of} have another, so that what is '
            f'annotated lies elsewhere: {first(other)}'
        )
        say.append(Finding('error', key, text))
    return say


def _reader(example: object) -> str:
    """Say what reads a file that OpenCV does not."""
    path = str(example).partition(' (')[0]
    try:
        with Image.open(path) as image:
            image.load()
            return f"imdecode_backend='pillow' of LoadImageFromFile reads {image.format}"
    except Exception:
        return 'no reader that is installed knows the first of them: write it anew, as PNG or JPEG'


def _same(found: tuple, expected: tuple) -> bool:
    return abs(found[0] - expected[0]) <= 1 and abs(found[1] - expected[1]) <= 1
