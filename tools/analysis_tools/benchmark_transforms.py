# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure the masking of single images in the data pipeline against a straightforward loop over the cells.

Both sides draw, mask and recompose one image and leave the image they were given as it was. The loop goes cell by
cell, as MaskAnyNet's transforms are described (arXiv 2511.12480, Figure 3), with one random number per decision: one
per corner of a patch, one per cell of random masks. The two are timed in turn, so that a ratio is taken within one
moment of the machine; reported are medians over the repeats, of processor time on one core.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.datasets.transforms import MaskRegions
from mmmaskany.user_errors import run

#: Name, pattern, the loop to compare with, its arguments, and the least ratio that is asked for.
CASES = (
    ('patch, scale 1/2', dict(type='mmmaskany.PatchPattern', scale=0.5, base=1), 'patch', (0.5,), 1),
    ('grid, 4 px cells', dict(type='mmmaskany.GridPattern', scale=0.5, cell=4, base=1), 'grid', (4,), 10),
    ('grid, 8 px cells', dict(type='mmmaskany.GridPattern', scale=0.5, cell=8, base=1), 'grid', (8,), None),
    ('grid, 16 px cells', dict(type='mmmaskany.GridPattern', scale=0.5, cell=16, base=1), 'grid', (16,), None),
    ('random, 8 x 8 cells', dict(type='mmmaskany.RandomPattern', scale=0.5, cell=28, base=1), 'random', (8,), None),
    ('random, 16 x 16 cells', dict(type='mmmaskany.RandomPattern', scale=0.5, cell=14, base=1), 'random', (16,), 5),
)

#: Where the loop takes a random number in [0, 1) from.
SOURCES: dict[str, Callable[[], float]] = {
    'torch': lambda: torch.rand(()).item(),
    'numpy': np.random.rand,
    'python': random.random,
}


def loop_patch(image: np.ndarray, rand: Callable[[], float], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Copy one rectangle out and zero it."""
    height, width = (int(side * scale) for side in image.shape[:2])
    top = int(rand() * (image.shape[0] - height + 1))
    left = int(rand() * (image.shape[1] - width + 1))
    visible = image.copy()
    reused = image[top : top + height, left : left + width].copy()
    visible[top : top + height, left : left + width] = 0
    return visible, reused


def loop_grid(image: np.ndarray, rand: Callable[[], float], cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Visit each cell at a multiple of twice its side."""
    visible, rows = image.copy(), []
    for top in range(0, image.shape[0] - cell + 1, 2 * cell):
        row = []
        for left in range(0, image.shape[1] - cell + 1, 2 * cell):
            row.append(image[top : top + cell, left : left + cell])
            visible[top : top + cell, left : left + cell] = 0
        rows.append(np.concatenate(row, axis=1))
    return visible, np.concatenate(rows, axis=0)


def loop_random(image: np.ndarray, rand: Callable[[], float], cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Decide for each of ``cells x cells`` cells with probability 1/4, and fill a canvas of half the size."""
    height, width = image.shape[0] // cells, image.shape[1] // cells
    visible = image.copy()
    reused = np.zeros((image.shape[0] // 2, image.shape[1] // 2, image.shape[2]), image.dtype)
    rows, cols = reused.shape[0] // height, reused.shape[1] // width
    count = 0
    for i in range(cells):
        for j in range(cells):
            if rand() < 0.25:
                top, left = i * height, j * width
                if count < rows * cols:
                    y, x = count // cols * height, count % cols * width
                    reused[y : y + height, x : x + width] = image[top : top + height, left : left + width]
                    count += 1
                visible[top : top + height, left : left + width] = 0
    return visible, reused


LOOPS = {'patch': loop_patch, 'grid': loop_grid, 'random': loop_random}


def _mask(transform: MaskRegions, image: np.ndarray) -> dict:
    return transform(dict(img=image))


def time_call(call: Callable[[], object], number: int) -> float:
    """Return the processor time of one call in microseconds."""
    begin = time.process_time()
    for _ in range(number):
        call()
    return (time.process_time() - begin) / number * 1e6


def compare(ours: Callable[[], object], loop: Callable[[], object], repeats: int, number: int) -> tuple:
    """Time two calls in turn; return the median of each in microseconds and of their ratio."""
    for call in (ours, loop):
        time_call(call, number)
    pairs = [(time_call(ours, number), time_call(loop, number)) for _ in range(repeats)]
    mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    return mine, theirs, statistics.median(b / a for a, b in pairs)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--size', type=int, default=224, help='side of the image in pixels')
    parser.add_argument('--repeats', type=int, default=25, help='pairs of measurements')
    parser.add_argument('--number', type=int, default=100, help='calls in each measurement')
    parser.add_argument(
        '--random', choices=tuple(SOURCES), default='torch', help='random numbers of the loop (ours are torch)'
    )
    args = parser.parse_args(argv)

    torch.set_num_threads(1)
    init_default_scope('mmpretrain')
    rand = SOURCES[args.random]
    image = np.random.default_rng(0).integers(0, 256, (args.size, args.size, 3), dtype=np.uint8)
    print(f'{args.size} x {args.size} x 3, uint8, one core, loop with the random numbers of {args.random}')
    print(f'{"":24}{"ours, us":>10}{"loop, us":>10}{"ratio":>8}{"asked":>8}')
    for name, pattern, loop, arguments, asked in CASES:
        transform = MaskRegions(pattern)
        ours = partial(_mask, transform, image)
        mine, theirs, ratio = compare(ours, partial(LOOPS[loop], image, rand, *arguments), args.repeats, args.number)
        print(f'{name:24}{mine:10.1f}{theirs:10.1f}{ratio:8.1f}{asked or "":>8}')


if __name__ == '__main__':
    sys.exit(run(main))
