# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .mask_resnet import MaskResNet
from .maskany import MaskAny, MaskAnyMixin

__all__ = ['MaskAny', 'MaskAnyMixin', 'MaskResNet']
