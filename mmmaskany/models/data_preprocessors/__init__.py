# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .maskany_data_preprocessor import MaskAnyDataPreprocessor

__all__ = ['MaskAnyDataPreprocessor']
