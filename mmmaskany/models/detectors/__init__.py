# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_sub_detector import MaskSubDetector, MaskSubDetectorMixin
from .masked_detector import MaskedDetector, MaskedDetectorMixin, check_ignoring

__all__ = ['MaskSubDetector', 'MaskSubDetectorMixin', 'MaskedDetector', 'MaskedDetectorMixin', 'check_ignoring']
