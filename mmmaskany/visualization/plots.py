# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Plots that can be read without their caption: labelled axes, colours for every eye, PNG and SVG."""

from __future__ import annotations

import io
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmmaskany.checkpoints.atomic import atomic_write

#: Eight colours that colour-blind readers can tell apart: Okabe and Ito, "Color Universal Design" (2008).
COLORS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#000000', '#F0E442')
#: As many markers, so that a plot also reads in black and white.
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')


def new_plot(xlabel: str, ylabel: str, size: tuple[float, float] = (6.4, 4.0)) -> tuple[Figure, Axes]:
    """Begin a plot of one panel, without pyplot: nothing is global and no display is needed.

    Args:
        xlabel (str): What the x axis shows, with its unit: 'masked share of the image (%)'.
        ylabel (str): What the y axis shows, with its unit.
        size (tuple[float, float]): Width and height in inches. Defaults to (6.4, 4.0).

    Returns:
        tuple[Figure, Axes]: The figure and its panel, to draw on with :data:`COLORS` and :data:`MARKERS`.
    """
    figure = Figure(figsize=size, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    frame(axes)
    return figure, axes


def frame(axes: Axes) -> None:
    """Give a panel the grid and the frame that all have.

    Args:
        axes (Axes): The panel.
    """
    axes.grid(color='0.9', linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def save_figure(
    figure: Figure, out: str | os.PathLike, dpi: int = 150, kinds: Sequence[str] = ('png', 'svg')
) -> list[Path]:
    """Write a figure as PNG and SVG, each as a whole or not at all, the same bytes for the same figure.

    Args:
        figure (Figure): The figure.
        out (str | os.PathLike): Where to; a suffix '.png' or '.svg' is replaced by both.
        dpi (int): Pixels per inch of the PNG. Defaults to 150.
        kinds (Sequence[str]): Which files, for a sheet of images 'png' alone. Defaults to ('png', 'svg').

    Returns:
        list[Path]: The files.

    Raises:
        ValueError: If out has another suffix that matplotlib knows, such as '.pdf'.
        OSError: If a file cannot be written.
    """
    out = Path(out)
    suffix = out.suffix.lower().removeprefix('.')
    if suffix in ('png', 'svg'):
        out = out.with_suffix('')
    elif suffix in figure.canvas.get_supported_filetypes():
        raise ValueError(f'a figure is written as .png and .svg, but got {out}')
    files = []
    for kind in kinds:
        metadata = {'png': {'Software': None}, 'svg': {'Date': None}}[kind]
        buffer = io.BytesIO()
        with rc_context({'svg.hashsalt': 'mmmaskany', 'svg.fonttype': 'path'}):
            figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
        files.append(out.with_name(f'{out.name}.{kind}'))
        atomic_write(files[-1], buffer.getvalue())
    return files


def plot_variants(variants: Mapping[str, Sequence[float]], xlabel: str) -> Figure:
    """Draw what several variants reached: a line for each, its seeds, their mean, and the first variant as the measure.

    Args:
        variants (Mapping[str, Sequence[float]]): The values of each variant, one per seed; the first is the baseline.
        xlabel (str): What the values are, with the unit: 'top-1 (%)'.

    Returns:
        Figure: The plot.

    Raises:
        ValueError: If there is no variant, or a variant without a value.
    """
    if not variants or not all(variants.values()):
        raise ValueError(f'every variant must have a value to be drawn, but got {dict(variants)}')
    names = list(variants)
    baseline = variants[names[0]]
    mean = statistics.mean(baseline)
    figure, axes = new_plot(xlabel, '', size=(7.2, 1.2 + 0.28 * len(names)))
    if len(baseline) > 1:
        spread = statistics.stdev(baseline)
        axes.axvspan(mean - spread, mean + spread, color='0.92', zorder=0, label=f'{names[0]}, ± one deviation')
    axes.axvline(mean, color='0.5', linewidth=1, linestyle='--', label=f'{names[0]}, mean')
    for row, values in enumerate(variants.values()):
        labels = ('a seed', 'mean of the seeds') if row == 0 else (None, None)
        axes.scatter(values, [row] * len(values), s=22, color=COLORS[5], label=labels[0], zorder=2)
        axes.scatter([statistics.mean(values)], [row], s=60, marker='|', color=COLORS[0], label=labels[1], zorder=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.legend(fontsize=8, frameon=False, loc='lower left', bbox_to_anchor=(0, 1), ncols=2)
    return figure
