# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write scikit-learn's 1,797 handwritten digits as data sets that train in a minute.

    python tools/dataset_converters/digits.py

``data/digits``: classification, ImageNet-style folders of 32 x 32 images ::

    data/digits/
    ├── train/{0..9}/*.png     1,442 images
    └── val/{0..9}/*.png         355 images

The images come with scikit-learn (UCI Optical Recognition of Handwritten Digits, 8 x 8 pixels of 17 grey levels) and
are enlarged smoothly. Nothing is drawn at random: the i-th image of a class goes to ``val`` when ``i % 5 == 4``. A set
appears under its name only when it is complete; one that is already there is left alone unless ``--force`` is given.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits

SIZE = 32  # px, side of a written digit
VAL_EVERY = 5  # every fifth image of a class is held out
STAMP = 'digits.json'  # says what wrote a set, and with which version of this layout
VERSION = 1


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


def save_png(path: Path, image: np.ndarray) -> None:
    """Write one image, making its folder, and fail where OpenCV would only return False."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode('.png', image)
    if not done:
        raise RuntimeError(f'OpenCV must be able to encode PNG, but failed for {path.name}')
    path.write_bytes(data.tobytes())


def write_classification(root: Path) -> dict:
    """Write the classification set below ``root`` and return the number of images per split."""
    digits = load_digits()
    names = splits(digits.target)
    for index, (image, target, split) in enumerate(zip(digits.images, digits.target, names, strict=True)):
        save_png(root / split / str(target) / f'{index:04d}.png', enlarge(image))
    return dict(Counter(names))


#: What can be written: name -> (folder below the data root, function that fills it and returns its counts).
SETS: dict[str, tuple[str, Callable[[Path], dict]]] = {
    'classification': ('digits', write_classification),
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
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
