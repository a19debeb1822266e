# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_sub import MaskSubSegmentor, MaskSubSegmentorMixin
from .relaxed import relaxed_pixel_loss

__all__ = ['MaskSubSegmentor', 'MaskSubSegmentorMixin', 'relaxed_pixel_loss']
