# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .formatting import PackMaskAnyInputs
from .masking import AugmentReused, MaskRegions, TorchvisionAutoAugment
from .objects import MaskObjects
from .pattern_mask import PatternMask
from .rectangles import Rectangles, draw_rectangles, mask_image, split_image

__all__ = [
    'AugmentReused',
    'MaskObjects',
    'MaskRegions',
    'PackMaskAnyInputs',
    'PatternMask',
    'Rectangles',
    'TorchvisionAutoAugment',
    'draw_rectangles',
    'mask_image',
    'split_image',
]
