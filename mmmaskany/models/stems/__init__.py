# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .dual_stem import DualStem
from .find import Stem, find_stem
from .fusions import AddFusion, ConcatFusion, GatedFusion, build_fusion, stem_channels
from .patches import patch_dual_stem

__all__ = [
    'AddFusion',
    'ConcatFusion',
    'DualStem',
    'GatedFusion',
    'Stem',
    'build_fusion',
    'find_stem',
    'patch_dual_stem',
    'stem_channels',
]
