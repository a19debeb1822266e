# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from ..sub_masking import DropTokens, FillCells, HideFromLayers, RaiseDropout, RaiseDropPath, ReplacePatches, SubMasking
from .mask_sub_classifier import MaskSubClassifier

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
