# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masked supervised training for OpenMMLab: MaskAnyNet and its siblings.

Importing the package makes the ``mmmaskany.`` scope known to the OpenMMLab registries, and nothing else: the modules
themselves are imported when a config names one of them. Importing ``mmmaskany.models``, ``datasets`` or ``engine``,
which is what that comes to, or ``inference``, protects the loading of checkpoints, see
:func:`mmmaskany.checkpoints.protection.protect`; that of ``mmmaskany.models`` also makes our models known to
mmpretrain's hub, see :func:`mmmaskany.hub.register`.
"""

import importlib

from . import registry
from .version import __version__

#: What is found when it is named, and where; under another name after the colon.
_LAZY = {
    'MaskMix': 'models.batch_augments',  # mmpretrain's registry of these knows no other scopes
    'UnMix': 'models.batch_augments',
    'wrap': 'models.backbones',
    'merge_stems': 'models.backbones',
    # The commands, see mmmaskany.cli.
    'finetune': 'experiments.finetune',
    'predict': 'inference.prediction',
    'list': 'hub.catalogue:list_models',
    'show': 'analysis.model_card',
    'export': 'inference.exporting',
    'doctor': 'environment',
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    where, _, other = _LAZY[name].partition(':')
    try:
        module = importlib.import_module(f'.{where}', __name__)
    except ImportError as error:  # a registry would only say that it does not know the name
        raise RuntimeError(f'{__name__}.{name} cannot be imported: {error}') from error
    return getattr(module, other or name)


__all__ = ['__version__', 'registry']
