# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .formatting import PackMaskAnyInputs
from .mask_objects import MaskObjects
from .mask_regions import AugmentReused, MaskRegions, TorchvisionAutoAugment
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
