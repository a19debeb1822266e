# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is in image files: whether OpenCV or Pillow can read them, how deep they are, and which splits share them."""

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from .files import by_suffix, image_suffixes, spread
from .finding import Finding, first

#: For how many seconds the files of a split are opened, evenly spread over it.
SECONDS = 1
#: How many files are opened at most to see how deep they are.
SAMPLE = 50
#: How many images of a validation set are looked for in the training set.
SHARED = 500
#: Suffixes of images that neither OpenCV nor Pillow reads.
_OTHERS = {'.heic', '.heif', '.jxl', '.svg', '.raw', '.cr2', '.nef', '.arw', '.dng', '.dcm', '.nii'}
#: Suffixes of the images that can have more than 8 bits.
_DEEP = ('.png', '.apng', '.tif', '.tiff', '.pbm', '.pgm', '.ppm', '.pnm', '.pfm', '.exr', '.hdr', '.avif')
_DEEP += ('.jp2', '.j2k', '.jpc', '.jpf', '.jpx', '.j2c')


def list_files(root: Path) -> list[str]:
    """List the files below a folder as the libraries do, which leave out files, but not folders, that begin with a dot.

    Args:
        root (Path): The folder.

    Returns:
        list[str]: Their paths relative to the folder, sorted.
    """
    found = []
    for place, _, files in os.walk(root, followlinks=True):
        below = os.path.relpath(place, root)
        found += [name if below == '.' else f'{below}/{name}' for name in files if not name.startswith('.')]
    return sorted(found)


def readers(path: Path) -> tuple[str, ...]:
    """Tell what can read a file as an image.

    Args:
        path (Path): The file.

    Returns:
        tuple[str, ...]: Of 'cv2' and 'pillow', as MMCV calls them.
    """
    content = path.read_bytes()
    found = []
    # OpenCV 4.12 has it in cv2, OpenCV 5 in cv2.utils.logging.
    set_log_level = cv2.setLogLevel if hasattr(cv2, 'setLogLevel') else cv2.utils.logging.setLogLevel
    level = set_log_level(0)  # silent
    try:
        if content and cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None:
            found.append('cv2')
    except cv2.error:
        pass
    finally:
        set_log_level(level)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        found.append('pillow')
    except Exception:  # Pillow's plugins raise what they like
        pass
    return tuple(found)


def sort_unread(root: Path, names: Iterable[str]) -> Mapping[str, list[str]]:
    """Sort files that a data set passes over by what can read them, one of each suffix being tried.

    Args:
        root (Path): Their folder.
        names (Iterable[str]): The files.

    Returns:
        Mapping[str, list[str]]: The names by 'cv2', 'pillow', 'nothing' and, where they have none, 'suffix'; what is
            no image is left out.
    """
    suffixes = defaultdict(list)
    for name in names:
        suffixes[os.path.splitext(name)[1].lower()].append(name)
    found = defaultdict(list)
    for suffix, files in suffixes.items():
        able = next((able for name in files[:3] if (able := readers(root / name))), ())
        kind = (
            able[0]
            if able and suffix
            else 'suffix'
            if able
            else 'nothing'
            if suffix in _OTHERS | image_suffixes()
            else None
        )
        if kind:
            found[kind] += files
    return found


def check_unread(key: str, root: Path, names: Iterable[str], read: int, given: Sequence[str]) -> Iterator[Finding]:
    """Say which images of a folder are passed over for their suffix.

    Args:
        key (str): The config key of the data set.
        root (Path): The folder.
        names (Iterable[str]): The files that are passed over.
        read (int): How many are not.
        given (Sequence[str]): The suffixes that are read.

    Yields:
        Finding: A warning for images that can be read, and one for those that cannot.
    """
    for kind, files in sort_unread(root, names).items():
        what = f'{len(files)} of {len(files) + read} images are passed over: {by_suffix(files)} ({first(files)})'
        suffixes = {os.path.splitext(name)[1].lower() for name in files}
        if kind == 'nothing':
            advice = 'neither OpenCV nor Pillow reads them: convert them'
        elif kind == 'suffix':
            advice = 'they have no suffix: give them one'
        else:
            advice = f'extensions={tuple(sorted({*given, *suffixes}))} reads them'
            if kind == 'pillow':
                advice += ", with imdecode_backend='pillow' in LoadImageFromFile"
        yield Finding('warning', key, f'{what}; {advice}')


def check_depth(key: str, paths: Sequence[str | Path], color_type: str = 'color') -> Iterator[Finding]:
    """Say which images lose depth when they are loaded.

    MMCV's ``color`` and ``grayscale`` make 8 bits of whatever a file has: of 16 they keep the upper 8.

    Args:
        key (str): The config key of the data set.
        paths (Sequence[str | Path]): The files.
        color_type (str): How ``LoadImageFromFile`` loads them. Defaults to 'color'.

    Yields:
        Finding: A warning.
    """
    if color_type not in ('color', 'grayscale', 'color_ignore_orientation', 'grayscale_ignore_orientation'):
        return
    deep, seen = [], 0
    candidates = [path for path in paths if str(path).lower().endswith(_DEEP)]
    for path in spread(candidates, SECONDS) if candidates else ():
        seen += 1
        try:
            stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            stored = None
        if stored is not None and stored.dtype != np.uint8:
            deep.append((path, stored))
        if seen == SAMPLE:
            break
    if deep:
        path, stored = deep[0]
        loaded = cv2.imread(str(path), cv2.IMREAD_COLOR if color_type.startswith('color') else cv2.IMREAD_GRAYSCALE)
        becomes = 'cannot be loaded so' if loaded is None else f'becomes {loaded.max()} of 255'
        yield Finding(
            'warning',
            key,
            f'images are loaded with 8 bits, but {len(deep)} of {seen} that were looked at are {stored.dtype}: the '
            f'largest value of {path}, {stored.max():g}, {becomes}. Convert them to 8 bits with '
            "the range that matters, or take color_type='unchanged' in LoadImageFromFile, with a mean and std of "
            'that range and as many in_channels as they have',
        )


def check_shared(key: str, train: Sequence[str], other: Sequence[str]) -> Iterator[Finding]:
    """Say which images of a validation or test set are trained on: the same file, or one of the same content.

    Up to ``SHARED`` images are looked for, evenly spread over the set; files are compared by their size first.

    Args:
        key (str): The config key of the validation or test set.
        train (Sequence[str]): The files of the training set.
        other (Sequence[str]): The files of the other set.

    Yields:
        Finding: A warning.
    """
    trained, sizes = {os.path.realpath(path): path for path in train}, defaultdict(list)
    sample = []
    for path in spread(other, SECONDS):
        sample.append(path)
        if len(sample) == SHARED:
            break
    same = [(path, trained[os.path.realpath(path)]) for path in sample if os.path.realpath(path) in trained]
    how = 'are files of the training set'
    if not same:
        for path in spread(train, SECONDS):
            sizes[_size(path)].append(path)
        sizes.pop(None, None)
        for path in spread(sample, SECONDS) if sample else ():
            alike = sizes.get(_size(path), ())
            digest = _digest(path) if alike else None
            duplicate = next((other for other in alike[:8] if _digest(other) == digest), None)
            if duplicate:
                same.append((path, duplicate))
        how = 'have the content of training images'
    if same:
        pairs = [path if os.path.samefile(path, other) else f'{path} is {other}' for path, other in same]
        yield Finding(
            'warning',
            key,
            f'images must not be trained on, or the result says nothing of new ones, but {len(same)} of {len(sample)} '
            f'that were looked at {how}: {first(pairs)}',
        )


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _digest(path: str) -> bytes:
    with open(path, 'rb') as file:
        return hashlib.blake2b(file.read(1 << 20)).digest()
