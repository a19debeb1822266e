# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .dual_stem import DualStem
from .find import Stem, find_stem, register_stem
from .fusions import AddFusion, ConcatFusion, Fusion, GatedFusion, build_fusion, stem_channels
from .patches import patch_dual_stem

__all__ = [
    'AddFusion',
    'ConcatFusion',
    'DualStem',
    'Fusion',
    'GatedFusion',
    'Stem',
    'build_fusion',
    'find_stem',
    'patch_dual_stem',
    'register_stem',
    'stem_channels',
]
