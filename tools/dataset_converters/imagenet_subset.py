# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write the lists of training images that semi-supervised configs take the labels of.

    python tools/dataset_converters/imagenet_subset.py data/imagenet                      # 1 and 10 percent
    python tools/dataset_converters/imagenet_subset.py data/imagenet --names 1percent.txt --percent 1

The images are drawn class by class, the same ones for the same seed, and a smaller share is part of a larger one. For
results that are to be compared with published ones give the published list, as SimCLR's, by ``--names``: a file name
such as ``n01440764_10026.JPEG`` in each line. No image is moved; a file appears for each share ::

    data/imagenet/
    ├── train/{class}/*                   there
    └── meta/
        └── train_1percent.txt            "n01440764/n01440764_10026.JPEG 0": image and the index of its class
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.user_errors import run


def read_classes(root: Path) -> dict[str, list[str]]:
    """List the training images.

    Args:
        root (Path): The data set.

    Returns:
        dict[str, list[str]]: The file names of each class, both sorted.

    Raises:
        FileNotFoundError: If there are none.
    """
    folders = sorted(folder for folder in (root / 'train').glob('*') if folder.is_dir())
    images = {folder.name: sorted(file.name for file in folder.iterdir() if file.is_file()) for folder in folders}
    if not any(images.values()):
        raise FileNotFoundError(f'{root} must hold training images in train/CLASS/, but holds none')
    return images


def draw(images: dict[str, list[str]], percent: float, seed: int) -> list[tuple[str, str]]:
    """Draw images of every class.

    Args:
        images (dict[str, list[str]]): As of :func:`read_classes`.
        percent (float): Share of each class, in (0, 100]; at least one image is drawn.
        seed (int): The seed.

    Returns:
        list[tuple[str, str]]: Class and file name.

    Raises:
        ValueError: If the share is none.
    """
    if not 0 < percent <= 100:
        raise ValueError(f'--percent must be in (0, 100], but got {percent:g}')
    chosen = []
    for name, files in images.items():
        order = random.Random(f'{seed} {name}').sample(files, len(files))
        chosen += [(name, file) for file in sorted(order[: max(1, round(len(files) * percent / 100))])]
    return chosen


def find(images: dict[str, list[str]], names: Sequence[str]) -> list[tuple[str, str]]:
    """Find images by their file names.

    Args:
        images (dict[str, list[str]]): As of :func:`read_classes`.
        names (Sequence[str]): The file names.

    Returns:
        list[tuple[str, str]]: Class and file name.

    Raises:
        ValueError: If one is not there.
    """
    class_of = {file: name for name, files in images.items() for file in files}
    if missing := [name for name in names if name not in class_of]:
        raise ValueError(f'--names must list training images, but {len(missing)} are not there, such as {missing[0]!r}')
    return [(class_of[name], name) for name in names]


def main(argv: list[str] | None = None) -> int:
    """Write the lists and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, nargs='?', default=Path('data/imagenet'), help='folder of the data set')
    parser.add_argument('--percent', type=float, nargs='+', default=[1, 10], help='shares to write (default: 1 10)')
    parser.add_argument('--names', type=Path, help='file of the names to take, for one share')
    parser.add_argument('--seed', type=int, default=0, help='seed of the draw (default: 0)')
    args = parser.parse_args(argv)
    if args.names and len(args.percent) > 1:
        parser.error(f'--names is of one share, so --percent must be one number, but got {args.percent}')
    try:
        images = read_classes(args.root)
        index = {name: number for number, name in enumerate(images)}
        for percent in args.percent:
            chosen = find(images, args.names.read_text().split()) if args.names else draw(images, percent, args.seed)
            out = args.root / 'meta' / f'train_{percent:g}percent.txt'
            atomic_write(out, ''.join(f'{name}/{file} {index[name]}\n' for name, file in chosen).encode())
            print(f'wrote {out}: {len(chosen)} of {sum(map(len, images.values()))} images')
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
