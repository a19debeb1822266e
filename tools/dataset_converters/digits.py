# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write scikit-learn's 1,797 handwritten digits as data sets that train in a minute.

    python tools/dataset_converters/digits.py

``data/digits``: classification, ImageNet-style folders of 32 x 32 images ::

    data/digits/
    ├── train/{0..9}/*.png     1,442 images
    └── val/{0..9}/*.png         355 images

``data/digits_coco`` and ``data/digits_ade``: the same scenes for detection and segmentation, digits of 22 to 44 px on
textured canvases of 80 to 128 px a side, in the layouts of COCO and ADE20K ::

    data/digits_coco/
    ├── annotations/instances_{train,val}.json     boxes and masks (RLE), categories '0' to '9'
    └── {train,val}/*.jpg                          240 and 80 scenes
    data/digits_ade/
    ├── images/{training,validation}/*.jpg
    └── annotations/{training,validation}/*.png    0 = unlabelled, 1 = background, 2 to 11 = the digits 0 to 9

The images come with scikit-learn (UCI Optical Recognition of Handwritten Digits, 8 x 8 pixels of 17 grey levels) and
are enlarged smoothly. The i-th image of a class goes to ``val`` when ``i % 5 == 4``, and scenes show digits of their
own split only. What a scene looks like follows from its split and number alone, so the same files are written every
time. The soft edge of a digit belongs to no instance and is unlabelled; every 20th scene is empty. A set appears under
its name only when it is complete; one that is already there is left alone unless ``--force`` is given.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from sklearn.datasets import load_digits

SIZE = 32  # px, side of a written digit
VAL_EVERY = 5  # every fifth image of a class is held out
STAMP = 'digits.json'  # says what wrote a set, and with which version of this layout
VERSION = 1

SCENES = dict(train=240, val=80)
EMPTY_EVERY = 20  # every 20th scene shows no digit
CANVAS = (80, 128)  # px, shortest and longest side of a scene
DIGIT = (22, 44)  # px, smallest and largest digit in a scene
DIGITS = (2, 7)  # fewest and most in a scene
TRIES = 40  # places that are tried before a scene is left with fewer
OVERLAP = 0.1  # of the smaller of two digits' squares, at most
SOFT, SOLID = 0.15, 0.45  # a digit's pixel is part of it from this opacity on; below, it is its edge, or nothing


def enlarge(digit: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Enlarge one digit of 8 x 8 pixels with values 0..16 to ``size x size`` grey pixels with values 0..255."""
    grey = cv2.resize(digit.astype(np.float32) * (255 / 16), (size, size), interpolation=cv2.INTER_CUBIC)
    return grey.round().clip(0, 255).astype(np.uint8)


def splits(targets: np.ndarray) -> list[str]:
    """Name the split of every image, the same share of each class, without drawing.

    Args:
        targets (np.ndarray): The class of every image.

    Returns:
        list[str]: ``'train'`` or ``'val'`` for every image.
    """
    seen = Counter()
    names = []
    for target in targets.tolist():
        names.append('val' if seen[target] % VAL_EVERY == VAL_EVERY - 1 else 'train')
        seen[target] += 1
    return names


def save_image(path: Path, image: np.ndarray) -> None:
    """Write one image, making its folder, and fail where OpenCV would only return False."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, image)
    if not done:
        raise RuntimeError(f'OpenCV must be able to encode {path.suffix}, but failed for {path.name}')
    path.write_bytes(data.tobytes())


def write_classification(root: Path) -> dict:
    """Write the classification set below ``root`` and return the number of images per split."""
    digits = load_digits()
    names = splits(digits.target)
    for index, (image, target, split) in enumerate(zip(digits.images, digits.target, names, strict=True)):
        save_image(root / split / str(target) / f'{index:04d}.png', enlarge(image))
    return dict(Counter(names))


# ---------------------------------------------------------------------- scenes


class Instance(NamedTuple):
    """A digit in a scene.

    Args:
        digit (int): Which one, 0 to 9.
        source (int): Its index among scikit-learn's images.
        mask (np.ndarray): Its visible pixels, ``bool (H, W)``.
    """

    digit: int
    source: int
    mask: np.ndarray


class Scene(NamedTuple):
    """A canvas with digits.

    Args:
        name (str): Name of its file, without suffix.
        image (np.ndarray): BGR, ``uint8 (H, W, 3)``.
        labels (np.ndarray): ADE20K-style ids, ``uint8 (H, W)``: 0 = unlabelled, 1 = background, 2 to 11 = digits.
        instances (list[Instance]): The digits.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    instances: list[Instance]


def scenes(split: str) -> Iterator[Scene]:
    """Compose the scenes of a split out of the digits of that split.

    Args:
        split (str): 'train' or 'val'.

    Yields:
        Scene: One after the other.
    """
    digits = load_digits()
    sources = np.flatnonzero(np.array(splits(digits.target)) == split)
    for index in range(SCENES[split]):
        rng = np.random.default_rng((list(SCENES).index(split), index))
        height, width = rng.integers(*CANVAS, size=2, endpoint=True)
        image = texture(rng, height, width)
        labels = np.ones((height, width), np.uint8)
        instances = []
        for left, top, size in squares(rng, height, width) if index % EMPTY_EVERY != EMPTY_EVERY - 1 else ():
            source = int(rng.choice(sources))
            digit = int(digits.target[source])
            opacity = np.zeros((height, width), np.float32)
            opacity[top : top + size, left : left + size] = enlarge(digits.images[source], size) / 255
            ink = rng.uniform(170, 255) * rng.uniform(0.8, 1, 3)
            image += opacity[..., None] * (ink - image)
            # What lies below the digit or its soft edge is hidden.
            instances = [below._replace(mask=below.mask & (opacity < SOFT)) for below in instances]
            instances.append(Instance(digit, source, opacity >= SOLID))
            labels[opacity >= SOFT] = 0
            labels[opacity >= SOLID] = digit + 2
        image += rng.normal(0, 5, image.shape)
        yield Scene(f'{split}_{index:03d}', image.round().clip(0, 255).astype(np.uint8), labels, instances)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paint a dark coloured canvas of blots of several sizes, ``float (height, width, 3)``."""
    canvas = np.full((height, width, 3), rng.uniform(0, 40, 3))
    for size in (4, 8, 16, 32):  # px
        blots = rng.uniform(-12, 12, (height // size + 2, width // size + 2, 1)).repeat(3, 2)
        canvas += cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC)
    return canvas


def squares(rng: np.random.Generator, height: int, width: int) -> list[tuple[int, int, int]]:
    """Draw places for some digits, fewer than were wanted where they would overlap too much.

    Args:
        rng (np.random.Generator): Where the numbers come from.
        height (int): Height of the canvas in px.
        width (int): Width of the canvas in px.

    Returns:
        list[tuple[int, int, int]]: Left, top and side of each in px.
    """
    placed: list[tuple[int, int, int]] = []
    wanted = rng.integers(*DIGITS, endpoint=True)
    for _ in range(TRIES):
        size = int(rng.integers(*DIGIT, endpoint=True))
        left, top = (int(rng.integers(0, side - size, endpoint=True)) for side in (width, height))
        shared = [
            max(0, min(left + size, x + s) - max(left, x))
            * max(0, min(top + size, y + s) - max(top, y))
            / min(size, s) ** 2
            for x, y, s in placed
        ]
        if len(placed) < wanted and max(shared, default=0) <= OVERLAP:
            placed.append((left, top, size))
    return placed


def run_lengths(mask: np.ndarray) -> list[int]:
    """Encode a mask as COCO's uncompressed RLE: run lengths down the columns, the first of zeros."""
    flat = mask.ravel(order='F')
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    return [0, *counts] if flat[0] else counts


def box(mask: np.ndarray) -> list[int]:
    """Return COCO's box of a mask: left, top, width and height in px."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def write_coco(root: Path) -> dict:
    """Write the detection set below ``root`` and return the number of scenes per split."""
    for split in SCENES:
        images, annotations = [], []
        for scene in scenes(split):
            height, width = scene.labels.shape
            images.append(dict(id=len(images), file_name=f'{scene.name}.jpg', height=height, width=width))
            for instance in scene.instances:
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=images[-1]['id'],
                        category_id=instance.digit + 1,
                        bbox=box(instance.mask),
                        area=int(instance.mask.sum()),
                        iscrowd=0,
                        segmentation=dict(size=[height, width], counts=run_lengths(instance.mask)),
                        source=instance.source,
                    )
                )
            save_image(root / split / images[-1]['file_name'], scene.image)
        categories = [dict(id=digit + 1, name=str(digit)) for digit in range(10)]
        content = dict(images=images, annotations=annotations, categories=categories)
        path = root / f'annotations/instances_{split}.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return dict(SCENES)


def write_ade(root: Path) -> dict:
    """Write the segmentation set below ``root`` and return the number of scenes per split."""
    for split, folder in (('train', 'training'), ('val', 'validation')):
        for scene in scenes(split):
            save_image(root / f'images/{folder}/{scene.name}.jpg', scene.image)
            save_image(root / f'annotations/{folder}/{scene.name}.png', scene.labels)
    return dict(SCENES)


#: What can be written: name -> (folder below the data root, function that fills it and returns its counts).
SETS: dict[str, tuple[str, Callable[[Path], dict]]] = {
    'classification': ('digits', write_classification),
    'detection': ('digits_coco', write_coco),
    'segmentation': ('digits_ade', write_ade),
}


def write_set(name: str, data_root: Path, force: bool = False) -> bool:
    """Write one set as a whole: it appears under its name only when it is complete.

    Args:
        name (str): One of :data:`SETS`.
        data_root (Path): The folder that holds the data sets; made when missing.
        force (bool): Write again what is already there. Defaults to False.

    Returns:
        bool: Whether anything was written.

    Raises:
        FileExistsError: If the folder holds something that this tool did not write, or wrote in an older layout.
    """
    folder, write = SETS[name]
    target = data_root / folder
    if target.exists() and not force:
        stamp = target / STAMP
        if stamp.is_file() and json.loads(stamp.read_text()).get('version') == VERSION:
            print(f'{name}: {target} is already there')
            return False
        raise FileExistsError(
            f'{target} must be absent or hold version {VERSION} of the digits, but holds something else: '
            'move it away, or give --force to replace it'
        )

    data_root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{folder}-', dir=data_root) as temp:
        fresh = Path(temp, folder)
        fresh.mkdir()
        counts = write(fresh)
        (fresh / STAMP).write_text(json.dumps(dict(set=name, version=VERSION, images=counts), indent=2) + '\n')
        if target.exists():
            os.rename(target, Path(temp, 'old'))
        os.rename(fresh, target)
    print(f'{name}: wrote {", ".join(f"{count} {split}" for split, count in counts.items())} images to {target}')
    return True


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', type=Path, default=Path('data'), help='folder of the data sets (default: data)')
    parser.add_argument('--sets', nargs='+', choices=SETS, default=list(SETS), help='what to write (default: all)')
    parser.add_argument('--force', action='store_true', help='write again what is already there')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write the sets that were asked for and return the exit status."""
    args = parse_args(argv)
    try:
        for name in args.sets:
            write_set(name, args.data_root, force=args.force)
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
    from mmmaskany.user_errors import run

    sys.exit(run(main))
