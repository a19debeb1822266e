# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Curves of repeated measurements, with their spread, and panels side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .plots import COLORS, MARKERS, frame


def new_panels(titles: Sequence[str], columns: int = 2, size: tuple[float, float] = (3.6, 2.7)) -> tuple[Figure, list]:
    """Begin a plot of several panels; as :func:`.new_plot`, without pyplot.

    Args:
        titles (Sequence[str]): What stands above each panel.
        columns (int): Panels in a row, at most. Defaults to 2.
        size (tuple[float, float]): Width and height of a panel in inches. Defaults to (3.6, 2.7).

    Returns:
        tuple[Figure, list[Axes]]: The figure and its panels, row by row.
    """
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(columns * size[0], rows * size[1]), layout='constrained')
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(rows, columns, index + 1) for index in range(len(titles))]
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize='medium')
        frame(axes)
    return figure, panels


def draw_curve(axes: Axes, x: Sequence[float], values: Sequence[Sequence[float]], label: str, index: int) -> None:
    """Draw a measurement that was repeated at each place: the means, their spread as a band, and every value.

    Args:
        axes (Axes): The panel.
        x (Sequence[float]): The places, in any order.
        values (Sequence[Sequence[float]]): What was measured at each of them, once or several times. The band is one
            standard deviation to both sides; a single value has none.
        label (str): What the legend calls it.
        index (int): Which curve it is, from 0: of 8, each has a colour and a marker of its own.

    Raises:
        ValueError: If a place has no value.
    """
    if any(not own for own in values):
        raise ValueError(f'the curve {label!r} must have a value at every place, but got {list(values)}')
    points = sorted(zip(x, values, strict=True))
    places = [place for place, _ in points]
    means = [statistics.mean(own) for _, own in points]
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    axes.plot(places, means, color=color, marker=marker, markersize=5, label=label, zorder=3)
    if any(len(own) > 1 for _, own in points):
        spreads = [_spread(own) for _, own in points]
        low, high = ([mean + sign * s for mean, s in zip(means, spreads, strict=True)] for sign in (-1, 1))
        axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
        single = [(place, value) for place, own in points for value in own]
        axes.plot(*zip(*single, strict=True), linestyle='', marker='.', markersize=4, color=color, alpha=0.5, zorder=2)


def draw_level(axes: Axes, values: Sequence[float], label: str) -> None:
    """Draw what the curves are compared with: a horizontal line at the mean, and a band of one standard deviation.

    Args:
        axes (Axes): The panel.
        values (Sequence[float]): What was measured, once or several times.
        label (str): What the legend calls it.
    """
    mean, spread = statistics.mean(values), _spread(values)
    axes.axhline(mean, color='0.25', linestyle='--', linewidth=1.2, label=label, zorder=1)
    if spread:
        axes.axhspan(mean - spread, mean + spread, color='0.25', alpha=0.1, linewidth=0, zorder=0)


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
