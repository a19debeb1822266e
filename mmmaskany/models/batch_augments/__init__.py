# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_mix import MaskMix

__all__ = ['MaskMix']
