# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masked supervised training for OpenMMLab: MaskAnyNet and its siblings.

Importing the package makes the ``mmmaskany.`` scope known to the OpenMMLab registries; the modules themselves
are imported when a config names one of them.
"""

from . import registry
from .version import __version__

__all__ = ['__version__', 'registry']
