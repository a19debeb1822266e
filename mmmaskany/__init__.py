# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masked supervised training for OpenMMLab: MaskAnyNet and its siblings.

Importing the package makes the ``mmmaskany.`` scope known to the OpenMMLab registries; the modules themselves
are imported when a config names one of them. It also makes training checkpoints loadable under the ``weights_only``
protection of ``torch.load``.
"""

from . import registry
from .utils import safe_load
from .version import __version__

safe_load.install()

__all__ = ['__version__', 'registry']
