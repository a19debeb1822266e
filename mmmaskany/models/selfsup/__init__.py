# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .pattern_mae_vit import PatternMAEViT

__all__ = ['PatternMAEViT']
