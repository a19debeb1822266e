# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Images as they are loaded, compared with what is stored and annotated: their colours, their size, their turn.

A photo may say by its EXIF orientation that it is to be turned, and OpenCV and Pillow turn it when it is loaded. Who
annotated the pixels as they are stored then trains on boxes and maps beside the objects.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np
from PIL import Image, ImageOps

from .files import spread
from .finding import Finding, first
from .images import SAMPLE, check_depth

#: For how many seconds headers of images are read before a run, evenly spread over the set.
SECONDS = 1
#: By how much of 255 colours may differ from those that are stored, on average: decoders of JPEG do by 1 or 2.
COLOURS = 5
#: Files that every reader loads alike, by their suffixes, and by their modes where they are no TIFF and no JPEG 2000.
_ALIKE = ('.jpg', '.jpeg', '.bmp', '.ppm', '.pgm', '.pbm')
_ALIKE_MODES = ('1', 'L', 'P', 'RGB')
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


def check_colours(key: str, paths: Sequence[str | os.PathLike], loading: Loading) -> Iterator[Finding]:
    """Say which images are loaded with other colours than are stored.

    OpenCV lays a TIFF's transparent pixels on black, MMCV's Pillow those of gray images on a colour of its own; of
    other files both keep the colours that alpha hides. Neither do all know the colour spaces of TIFF and JPEG 2000, and
    tifffile hands RGB on as if it were BGR.

    Args:
        key (str): The config key of the data set.
        paths (Sequence[str | os.PathLike]): The files. Up to ``SAMPLE``, evenly spread, are looked at.
        loading (Loading): How they are loaded.

    Yields:
        Finding: A warning.
    """
    if loading.color_type not in ('color', 'color_ignore_orientation'):
        return
    other, count = [], 0
    candidates = [path for path in paths if not str(path).lower().endswith(_ALIKE)]
    for path in spread(candidates, SECONDS) if candidates else ():
        count += 1
        try:
            difference = _difference(path, loading)
        except Exception:  # what cannot be read is said elsewhere
            continue
        if difference > COLOURS:
            other.append((path, difference))
        if count == SAMPLE:
            break
    if other:
        path, difference = other[0]
        with Image.open(path) as image:
            kind = f'{image.format} of mode {image.mode}'
        faithful = []
        for backend in ('cv2', 'pillow'):
            try:
                if _difference(path, loading._replace(backend=backend)) <= COLOURS:
                    faithful.append(f"imdecode_backend='{backend}' of LoadImageFromFile loads them as they are stored")
            except Exception:
                continue
        advice = ' or '.join([*faithful[:1], 'write them anew as RGB, without alpha'])
        yield Finding(
            'warning',
            key,
            f'images are to be loaded with the colours that are stored, but {len(other)} of {count} that were looked '
            f'at are not by {loading.backend}: those of {path}, {kind}, differ by {difference:.0f} of 255 on average; '
            f'{advice}',
        )


def _difference(path: str | os.PathLike, loading: Loading) -> float:
    """Return by how much the colours of an image differ as they are loaded and as they are stored, of 255."""
    with Image.open(path) as image:
        alike = loading.backend in ('cv2', 'pillow') and image.format not in ('TIFF', 'JPEG2000')
        if (alike and image.mode in _ALIKE_MODES) or image.mode[0] in 'IF':  # of depth, see check_depth
            return 0
        turned = ImageOps.exif_transpose(image) if loading.color_type == 'color' else image
        stored = np.asarray(turned.convert('RGB'), dtype=np.int16)[..., ::-1]
    return float(np.abs(loading.load(path)[..., :3] - stored).mean())


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
    paths = [path for path, _ in sizes]
    say = [*check_depth(key, paths, loading.color_type), *check_colours(key, paths, loading)]
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
