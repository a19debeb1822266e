# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Draw the picture of the idea in the README: an image, its two views, two stems, one backbone.

    python docs/figures/idea_picture.py

Both views are made by the package itself, from a photo that comes with scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.masking import GridPattern, Masking
from mmmaskany.user_errors import run
from mmmaskany.visualization import credit, load_photo

ROOT = Path(__file__).resolve().parents[2]
VISIBLE, REUSED, SHARED = '#2a78b8', '#d9730d', '#5b6770'


def views() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return image, visible and reused view, ``(H, W, 3)`` with values in [0, 1]."""
    image = load_photo('temple')
    masking = Masking(GridPattern(scale=0.5, cell=28, base=4))
    visible, reused, _ = masking(image, generator=torch.Generator().manual_seed(1))
    return tuple(view[0].permute(1, 2, 0) for view in (image, visible, reused))


def show(
    axis: plt.Axes,
    image: torch.Tensor,
    left: float,
    middle: float,
    side: float,
    label: str,
    color: str,
    below: bool = False,
) -> None:
    """Show an image with its left edge and its vertical middle at a place of the drawing, and a label over or below."""
    extent = (left, left + side, middle - side / 2, middle + side / 2)
    axis.imshow(image.numpy(), extent=extent, interpolation='lanczos', zorder=2)
    axis.add_patch(
        plt.Rectangle((left, middle - side / 2), side, side, fill=False, edgecolor=color, linewidth=2, zorder=3)
    )
    edge, align = (-side / 2 - 0.1, 'top') if below else (side / 2 + 0.1, 'bottom')
    axis.text(left + side / 2, middle + edge, label, ha='center', va=align, fontsize=11, color=color)


def box(axis: plt.Axes, left: float, middle: float, width: float, height: float, label: str, color: str) -> None:
    """Draw a labelled box with its left edge and its vertical middle at a place of the drawing."""
    axis.add_patch(
        FancyBboxPatch(
            (left, middle - height / 2), width, height, boxstyle='round,pad=0,rounding_size=0.1', color=color, zorder=2
        )
    )
    axis.text(left + width / 2, middle, label, ha='center', va='center', fontsize=11, color='white', zorder=3)


def arrow(axis: plt.Axes, start: tuple[float, float], end: tuple[float, float], color: str = SHARED) -> None:
    """Draw an arrow."""
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle='-|>', mutation_scale=16, linewidth=1.8, color=color))


def draw() -> plt.Figure:
    """Draw the picture."""
    image, visible, reused = views()
    figure, axis = plt.subplots(figsize=(13, 4.6))
    up, down, half = 3.55, 1.05, 2.45
    show(axis, image, 0.1, half, 2.2, 'image', SHARED)
    show(axis, visible, 3.3, up, 2.0, 'visible: masked cells are black', VISIBLE)
    show(axis, reused, 3.8, down, 1.0, 'reused: the masked cells, stitched together', REUSED, below=True)
    arrow(axis, (2.35, half + 0.15), (3.25, up - 0.1), VISIBLE)
    arrow(axis, (2.35, half - 0.15), (3.75, down + 0.05), REUSED)
    axis.text(2.75, half, 'mask', ha='center', va='center', fontsize=11, color=SHARED)
    box(axis, 6.4, up, 1.35, 0.85, 'stem\nstride 4', VISIBLE)
    box(axis, 6.4, down, 1.35, 0.85, 'stem\nstride 2', REUSED)
    arrow(axis, (5.35, up), (6.35, up), VISIBLE)
    arrow(axis, (4.85, down), (6.35, down), REUSED)
    axis.add_patch(Circle((8.6, half), 0.3, facecolor='white', edgecolor=SHARED, linewidth=1.8, zorder=3))
    axis.text(8.6, half, '+', ha='center', va='center', fontsize=18, color=SHARED, zorder=4)
    axis.text(8.72, half - 0.36, 'fusion', ha='left', va='top', fontsize=11, color=SHARED)
    arrow(axis, (7.8, up), (8.42, half + 0.27), VISIBLE)
    arrow(axis, (7.8, down), (8.42, half - 0.27), REUSED)
    arrow(axis, (8.92, half), (9.5, half))
    for index, height in enumerate((2.0, 1.6, 1.25, 0.95)):  # the stages, smaller and smaller
        left, next_height = 9.55 + 0.5 * index, height - 0.3
        corners = [(left, height / 2), (left + 0.42, next_height / 2), (left + 0.42, -next_height / 2)]
        corners = [(x, y + half) for x, y in (*corners, (left, -height / 2))]
        axis.add_patch(Polygon(corners, color=SHARED))
    axis.text(
        10.5, half + 1.15, 'the rest of the backbone,\nunchanged', ha='center', va='bottom', fontsize=11, color=SHARED
    )
    arrow(axis, (11.55, half), (12.1, half))
    axis.text(12.15, half, 'class\nboxes\nmasks', ha='left', va='center', fontsize=11, color=SHARED)
    axis.text(12.9, 0.12, credit('temple'), ha='right', va='bottom', fontsize=7, color='0.5')
    axis.set(xlim=(0, 13), ylim=(0.1, 5.0), aspect='equal')
    axis.axis('off')
    figure.tight_layout(pad=0)
    return figure


def main(argv: list[str] | None = None) -> int:
    """Write the picture and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'resources' / 'idea.png', help='PNG to write')
    out = parser.parse_args(argv).out
    out.parent.mkdir(parents=True, exist_ok=True)
    draw().savefig(out, dpi=110, facecolor='white')
    print(f'wrote {out}')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
