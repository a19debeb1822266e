# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .maskany_cls_head import MaskAnyClsHead

__all__ = ['MaskAnyClsHead']
