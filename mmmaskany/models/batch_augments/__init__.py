# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_mix import MaskMix, Mixed, NeighbourMix, UnMix

__all__ = ['MaskMix', 'Mixed', 'NeighbourMix', 'UnMix']
