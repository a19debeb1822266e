# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .maskany_neck import MaskAnyNeck
from .token_pooling import TokenPooling

__all__ = ['MaskAnyNeck', 'TokenPooling']
