# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmmaskany.checkpoints.protection import protect

from .transforms import AugmentReused, MaskObjects, MaskRegions, PackMaskAnyInputs, PatternMask

protect()

__all__ = [
    'AugmentReused',
    'MaskObjects',
    'MaskRegions',
    'PackMaskAnyInputs',
    'PatternMask',
]
