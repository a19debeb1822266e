# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .masked import MaskedDetector, MaskedDetectorMixin, check_ignoring

__all__ = ['MaskedDetector', 'MaskedDetectorMixin', 'check_ignoring']
