# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .samplers import SeededIndex, SeededSampler
from .transforms import AugmentReused, MaskRegions, PackMaskAnyInputs, PatternMask
from .wrappers import SeededDataset

__all__ = [
    'AugmentReused',
    'MaskRegions',
    'PackMaskAnyInputs',
    'PatternMask',
    'SeededDataset',
    'SeededIndex',
    'SeededSampler',
]
