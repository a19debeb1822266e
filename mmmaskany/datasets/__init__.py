# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmmaskany.checkpoints.protection import protect

from .samplers import SeededIndex, SeededSampler
from .transforms import AugmentReused, MaskObjects, MaskRegions, PackMaskAnyInputs, PatternMask
from .wrappers import SeededDataset

protect()

__all__ = [
    'AugmentReused',
    'MaskObjects',
    'MaskRegions',
    'PackMaskAnyInputs',
    'PatternMask',
    'SeededDataset',
    'SeededIndex',
    'SeededSampler',
]
