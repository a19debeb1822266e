# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The masking algebra: where to mask (patterns), what stays (fills), what becomes of the rest (recompose).

Torch only: nothing here imports OpenMMLab, so the algebra can be read, tested and used alone.

Legend of all shapes: B = batch, C = channels, H, W = image height and width in pixels, rows, cols = cells of the
base grid, n, m = rows and columns of a pattern's own cells on the canvas of the reused view.
"""

from .draw import Cells, Draw
from .fills import ConstantFill, Fill, ImageFill, MeanFill, TokenFill
from .masking import Masking, Views, half_size, reused_size
from .patterns import (
    BlockPattern,
    GridPattern,
    MixturePattern,
    NoisePattern,
    PatchPattern,
    Pattern,
    RandomPattern,
    check_pattern,
)
from .recompose import recompose, restore

__all__ = [
    'BlockPattern',
    'Cells',
    'ConstantFill',
    'Draw',
    'Fill',
    'GridPattern',
    'ImageFill',
    'Masking',
    'MeanFill',
    'MixturePattern',
    'NoisePattern',
    'PatchPattern',
    'Pattern',
    'RandomPattern',
    'TokenFill',
    'Views',
    'check_pattern',
    'half_size',
    'recompose',
    'restore',
    'reused_size',
]
