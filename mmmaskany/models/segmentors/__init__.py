# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_sub import MaskSubSegmentor, MaskSubSegmentorMixin
from .masked import MaskedSegmentor, MaskedSegmentorMixin
from .relaxed import relaxed_pixel_loss

__all__ = ['MaskSubSegmentor', 'MaskSubSegmentorMixin', 'MaskedSegmentor', 'MaskedSegmentorMixin', 'relaxed_pixel_loss']
