# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_sub import MaskSubClassifier
from .sub_masking import DropTokens, FillCells, HideFromLayers, RaiseDropout, RaiseDropPath, ReplacePatches, SubMasking

__all__ = [
    'DropTokens',
    'FillCells',
    'HideFromLayers',
    'MaskSubClassifier',
    'RaiseDropPath',
    'RaiseDropout',
    'ReplacePatches',
    'SubMasking',
]
