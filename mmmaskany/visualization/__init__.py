# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How this project draws: plots that read without their caption, and sheets of images."""

from .photos import credit, load_photo
from .plots import COLORS, MARKERS, new_plot, plot_arms, save_figure
from .sheets import draw_panel, pixels

__all__ = ['COLORS', 'MARKERS', 'credit', 'draw_panel', 'load_photo', 'new_plot', 'pixels', 'plot_arms', 'save_figure']
