# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Draw the picture of docs/architecture.md: the ways of a batch to the two stems of a backbone, and on from there.

python docs/figures/architecture_picture.py
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.user_errors import run
from mmmaskany.visualization import COLORS, save_figure

ROOT = Path(__file__).resolve().parents[2]
#: What is the library's, and what is ours.
LIBRARY, OURS = '#5b6770', COLORS[0]
#: The middles of the boxes from left to right, and of the three ways from top to bottom.
COLUMNS = (0.0, 3.1, 6.1, 8.9, 10.8, 12.5)
ROWS = (4.4, 2.2, 0.0)
#: Of each way its title, data pipeline, data preprocessor and backbone; what begins with '*' is ours.
WAYS = (
    (
        'masks drawn in the model (all three tasks)',
        'load, crop, flip, pack',
        'normalise, pad;\nmixup, cutmix',
        '*Masking: draw, fill,\nrecompose',
    ),
    (
        'masks drawn in the data pipeline, reused (classification)',
        '*MaskRegions\ncrop, flip of the visible view\nAugmentReused\nPackMaskAnyInputs',
        '*MaskAnyDataPreprocessor:\nnormalise and mixup\nof both views',
        '*a ready pair:\nmasked no further',
    ),
    (
        'masks drawn in the data pipeline, lost (all three tasks)',
        '*MaskRegions, reuse=False;\nMaskObjects of detection',
        'normalise, pad;\nmixup, cutmix',
        '*no masking: the image,\nand it at half size',
    ),
)


def box(axes: Axes, x: float, y: float, label: str) -> Text:
    """Draw a box around its label, which begins with '*' where it is ours."""
    color = OURS if label.startswith('*') else LIBRARY
    frame = dict(boxstyle='round,pad=0.5', facecolor=color, edgecolor=color)
    return axes.text(x, y, label.removeprefix('*'), ha='center', va='center', fontsize=9, color='white', bbox=frame)


def arrow(axes: Axes, start: Text, end: Text) -> None:
    """Draw an arrow from the edge of one box to that of another."""
    ends = dict(patchA=start.get_bbox_patch(), patchB=end.get_bbox_patch(), shrinkA=0, shrinkB=2)
    style = dict(arrowstyle='-|>', color='0.35', linewidth=1.5)
    axes.annotate('', end.get_position(), start.get_position(), arrowprops=style | ends)


def draw() -> Figure:
    """Draw the picture."""
    figure = Figure(figsize=(13.5, 5.4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=(-1.5, 14.9), ylim=(-0.9, 6.0))
    axes.axis('off')
    for x, head in zip(COLUMNS, ('data pipeline', 'data preprocessor', 'backbone'), strict=False):
        axes.text(x, 5.75, head, ha='center', fontsize=10, color='0.35')
    stems = [
        box(axes, COLUMNS[3], ROWS[1] + 0.8, "the host's stem:\nvisible image"),
        box(axes, COLUMNS[3], ROWS[1] - 0.8, '*reused stem:\nreused image'),
    ]
    fusion = box(axes, COLUMNS[4], ROWS[1], '*fusion')
    rest = box(axes, COLUMNS[5], ROWS[1], 'stages,\nneck, head')
    result = axes.text(
        COLUMNS[5] + 1.4,
        ROWS[1],
        'class;\nboxes, masks;\nlabel map',
        ha='center',
        va='center',
        fontsize=9,
        bbox=dict(boxstyle='round,pad=0.5', facecolor='none', edgecolor=LIBRARY),
    )
    box(axes, COLUMNS[4], -0.5, '*of this package')
    box(axes, COLUMNS[5], -0.5, 'of the library')
    arrows = [(fusion, rest), (rest, result), *((stem, fusion) for stem in stems)]
    for y, (title, *labels) in zip(ROWS, WAYS, strict=True):
        axes.text(-1.35, y + 0.85, title, fontsize=10, fontweight='bold', color='0.2')
        parts = [box(axes, x, y, label) for x, label in zip(COLUMNS, labels, strict=False)]
        arrows += [*itertools.pairwise(parts), *((parts[-1], stem) for stem in stems)]
    figure.canvas.draw()  # the boxes get their sizes, at which the arrows end
    for start, end in arrows:
        arrow(axes, start, end)
    return figure


def main(argv: list[str] | None = None) -> int:
    """Write the picture and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/figures/architecture.png', help='PNG to write')
    for path in save_figure(draw(), parser.parse_args(argv).out, dpi=110, kinds=('png',)):
        print(f'wrote {path}')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
