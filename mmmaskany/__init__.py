# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masked supervised training for OpenMMLab: MaskAnyNet and its siblings.

Importing the package makes the ``mmmaskany.`` scope known to the OpenMMLab registries, and nothing else: the modules
themselves are imported when a config names one of them. Importing ``mmmaskany.models``, ``mmmaskany.datasets`` or
``mmmaskany.engine``, which is what that comes to, protects the loading of checkpoints, see
:func:`mmmaskany.checkpoints.protection.protect`; that of ``mmmaskany.models`` also makes our models known to
mmpretrain's hub, see :func:`mmmaskany.hub.register`.
"""

from . import registry
from .version import __version__


def __getattr__(name: str) -> object:
    """Find the batch augmentations when they are named: mmpretrain's registry of these knows no other scopes."""
    if name not in ('MaskMix', 'UnMix'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    try:
        from .models import batch_augments
    except ImportError as error:  # the registry would only say that it does not know the name
        raise RuntimeError(f'{__name__}.{name} cannot be imported: {error}') from error
    return getattr(batch_augments, name)


__all__ = ['__version__', 'registry']
