# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure what it costs to know what a draw hides of objects, and to spare them, on one CPU thread.

    python tools/analysis_tools/benchmark_objects.py

Random cells hide a third of images with drawn boxes. Shown is the processor's time, which other processes hardly
change: the median of the calls and the fastest.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.masking import ObjectPolicy, RandomPattern
from mmmaskany.masking.object_visibility import visible_boxes
from mmmaskany.user_errors import run

#: Images, their height and width in pixels, and boxes in each.
CASES = ((64, 224, 224, 100), (64, 224, 224, 10), (8, 800, 1344, 10))


def draw_boxes(count: int, height: int, width: int) -> Tensor:
    """Draw boxes of up to half of the image, ``(count, 4)``."""
    sides = torch.tensor([width, height])
    corner, size = torch.rand(count, 2) * sides / 2, torch.rand(count, 2) * sides / 2 + 1
    return torch.cat([corner, corner + size], 1)


def main(argv: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--calls', type=int, default=60, help='calls that count (default: 60)')
    args = parser.parse_args(argv)
    if args.calls < 1:
        parser.error(f'--calls must be at least 1, but got {args.calls}')
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = ObjectPolicy('spare', min_visible=0.5)
    print('| images | boxes in each | shares, ms (fastest) | sparing, ms (fastest) |')
    print('| --- | --- | --- | --- |')
    for batch, height, width, count in CASES:
        draw = RandomPattern(ratio=1 / 3, cell=32, base=4).draw(batch, height, width)
        boxes = [draw_boxes(count, height, width) for _ in range(batch)]
        cells = [f'{batch} of {height} x {width}', str(count)]
        for call in (functools.partial(visible_boxes, draw, boxes), functools.partial(policy.correct, draw, boxes)):
            times = []
            for _ in range(args.calls + 2):
                start = time.process_time()
                call()
                times.append((time.process_time() - start) * 1e3)
            cells.append(f'{statistics.median(times[2:]):.2f} ({min(times[2:]):.2f})')
        print(f'| {" | ".join(cells)} |')


if __name__ == '__main__':
    sys.exit(run(main))
