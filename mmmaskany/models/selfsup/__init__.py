# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mix_mask import MixMask, MixMaskBYOL, MixMaskMoCo, MixMaskSimSiam
from .pattern_mae_vit import PatternMAEViT

__all__ = ['MixMask', 'MixMaskBYOL', 'MixMaskMoCo', 'MixMaskSimSiam', 'PatternMAEViT']
