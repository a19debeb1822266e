# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .maskany_neck import MaskAnyNeck

__all__ = ['MaskAnyNeck']
