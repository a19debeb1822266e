# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How this project draws: plots that read without their caption, and sheets of images."""

from .curves import draw_curve, draw_level, new_panels
from .plots import COLORS, MARKERS, new_plot, save_figure
from .sheets import draw_panel, pixels

__all__ = [
    'COLORS',
    'MARKERS',
    'draw_curve',
    'draw_level',
    'draw_panel',
    'new_panels',
    'new_plot',
    'pixels',
    'save_figure',
]
