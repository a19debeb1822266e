# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_sub import MaskSubClassifier
from .sub_masking import DropTokens, FillCells, ReplacePatches, SubMasking

__all__ = ['DropTokens', 'FillCells', 'MaskSubClassifier', 'ReplacePatches', 'SubMasking']
