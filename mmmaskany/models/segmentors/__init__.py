# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_sub_segmentor import MaskSubSegmentor, MaskSubSegmentorMixin
from .masked_segmentor import MaskedSegmentor, MaskedSegmentorMixin
from .relaxed_targets import relaxed_pixel_loss

__all__ = ['MaskSubSegmentor', 'MaskSubSegmentorMixin', 'MaskedSegmentor', 'MaskedSegmentorMixin', 'relaxed_pixel_loss']
