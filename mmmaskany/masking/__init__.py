# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The masking algebra: where to mask (patterns), what stays (fills), what becomes of the rest (recompose).

Torch only: nothing here imports OpenMMLab, so the algebra can be read, tested and used alone.

Legend of all shapes: B = batch, C = channels, H, W = image height and width in pixels, rows, cols = cells of the
base grid, n, m = rows and columns of a pattern's own cells on the canvas of the reused view.
"""

from .augments import Augment
from .draw import Cells, Draw, kept_first
from .fills import ConstantFill, Fill, ImageFill, MeanFill, TokenFill
from .layers import LayerMasking
from .masking import Masking, Views, half_size, reused_size
from .object_visibility import ObjectPolicy, spare, visible_boxes, visible_masks
from .patterns import (
    DATA,
    ActivationPattern,
    AttentionPattern,
    BlockPattern,
    GridPattern,
    GuidedPattern,
    MixturePattern,
    NoisePattern,
    ObjectPattern,
    PatchPattern,
    Pattern,
    RandomPattern,
    RankedPattern,
    check_pattern,
    draw_masks,
)
from .put_back import put_back
from .recompose import recompose, restore

__all__ = [
    'DATA',
    'ActivationPattern',
    'AttentionPattern',
    'Augment',
    'BlockPattern',
    'Cells',
    'ConstantFill',
    'Draw',
    'Fill',
    'GridPattern',
    'GuidedPattern',
    'ImageFill',
    'LayerMasking',
    'Masking',
    'MeanFill',
    'MixturePattern',
    'NoisePattern',
    'ObjectPattern',
    'ObjectPolicy',
    'PatchPattern',
    'Pattern',
    'RandomPattern',
    'RankedPattern',
    'TokenFill',
    'Views',
    'check_pattern',
    'draw_masks',
    'half_size',
    'kept_first',
    'put_back',
    'recompose',
    'restore',
    'spare',
    'visible_boxes',
    'visible_masks',
    'reused_size',
]
