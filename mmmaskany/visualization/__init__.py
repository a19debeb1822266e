# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How this project draws: plots that read without their caption, and sheets of images."""

from .photos import credit, load_photo
from .plots import COLORS, MARKERS, new_plot, plot_variants, save_figure
from .sheets import MASKED, Panels, batch_panels, draw_panel, mask_picture, pixels, sheet, to_array

__all__ = [
    'COLORS',
    'MARKERS',
    'MASKED',
    'Panels',
    'batch_panels',
    'credit',
    'draw_panel',
    'load_photo',
    'mask_picture',
    'new_plot',
    'pixels',
    'plot_variants',
    'save_figure',
    'sheet',
    'to_array',
]
