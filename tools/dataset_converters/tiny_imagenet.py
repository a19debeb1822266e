# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write the lists that the configs need to read Tiny-ImageNet as it comes out of its archive.

    python tools/dataset_converters/tiny_imagenet.py data/tiny-imagenet-200

The archive's training images lie in class folders, but its validation images lie in one folder beside a table of
their classes. No image is moved; two files appear ::

    data/tiny-imagenet-200/
    ├── train/{class}/images/*.JPEG       there
    ├── val/images/*.JPEG                 there
    ├── val/val_annotations.txt           there
    └── meta/
        ├── classes.txt                   the 200 class names, sorted, one per line
        └── val.txt                       "val_0.JPEG 107": image and the index of its class
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.user_errors import run


def read_split(root: Path) -> tuple[list[str], list[str]]:
    """Read the classes and the labelled validation images.

    Args:
        root (Path): The unpacked archive.

    Returns:
        tuple[list[str], list[str]]: The lines of ``classes.txt`` and of ``val.txt``.

    Raises:
        FileNotFoundError: If a part of the archive is missing.
        ValueError: If the table of the validation images names an unknown class.
    """
    table = root / 'val' / 'val_annotations.txt'
    for part in (root / 'train', root / 'val' / 'images', table):
        if not part.exists():
            raise FileNotFoundError(f'{root} must hold the unpacked archive tiny-imagenet-200, but {part} is missing')
    classes = sorted(folder.name for folder in (root / 'train').iterdir() if folder.is_dir())
    index = {name: number for number, name in enumerate(classes)}
    images = []
    for row, line in enumerate(table.read_text().splitlines(), start=1):
        name, wnid = (line.split('\t') + [''])[:2]
        if wnid not in index:
            raise ValueError(
                f'{table}, line {row}: the class must be one of the {len(classes)} folders in train, but got {wnid!r}'
            )
        images.append(f'{name} {index[wnid]}')
    return classes, images


def main(argv: list[str] | None = None) -> int:
    """Write the lists and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, nargs='?', default=Path('data/tiny-imagenet-200'), help='unpacked archive')
    root = parser.parse_args(argv).root
    try:
        for name, lines in zip(('classes.txt', 'val.txt'), read_split(root), strict=True):
            atomic_write(root / 'meta' / name, ''.join(f'{line}\n' for line in lines).encode())
            print(f'wrote {root / "meta" / name}: {len(lines)} lines')
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
