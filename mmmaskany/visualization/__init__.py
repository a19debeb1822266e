# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How this project draws: plots that read without their caption, and sheets of images."""

from .plots import COLORS, MARKERS, new_plot, save_figure
from .sheets import draw_panel, pixels

__all__ = ['COLORS', 'MARKERS', 'draw_panel', 'new_plot', 'pixels', 'save_figure']
