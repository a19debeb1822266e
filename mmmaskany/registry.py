# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The registry nodes of the ``mmmaskany`` scope.

Every node hangs directly below MMEngine's root registry, not below that of mmpretrain, mmdet or mmseg: so
``type='mmmaskany.X'`` resolves alike from the ``mmpretrain``, ``mmdet`` and ``mmseg`` scopes.
"""

import contextlib
import importlib.util
from collections.abc import Mapping

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

# ``_base_ = 'mmseg::...'`` makes MMEngine look for a distribution, of which it knows the original's name only. By the
# name of the module it finds whichever is installed: the original, or its maintained fork. (mmdet and mmpretrain bear
# the names of their modules already.)
with contextlib.suppress(ImportError):
    if importlib.util.find_spec('mmseg'):
        MODULE2PACKAGE['mmseg'] = 'mmseg'


def name_of(kind: object) -> str:
    """Return what a ``type`` of a config names, without its scope: pure Python configs have the class itself there."""
    return getattr(kind, '__name__', None) or str(kind).split('.')[-1]


def library_of(cfg: Mapping) -> str | None:
    """Return a config's library: its default scope; pure Python configs have none, but their model has a module."""
    kind = (cfg.get('model') or {}).get('type')
    return cfg.get('default_scope') or (getattr(kind, '__module__', '').split('.')[0] or None)


#: Backbones, necks, heads, data preprocessors, and the patterns and fills of :mod:`mmmaskany.masking`.
MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmmaskany', locations=['mmmaskany.models'])
#: Data transforms.
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='mmmaskany', locations=['mmmaskany.datasets'])
#: Dataset wrappers.
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='mmmaskany', locations=['mmmaskany.engine'])
#: Sampler wrappers.
DATA_SAMPLERS = Registry(
    'data sampler', parent=MMENGINE_DATA_SAMPLERS, scope='mmmaskany', locations=['mmmaskany.engine']
)
#: Training hooks.
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='mmmaskany', locations=['mmmaskany.engine'])
#: Wrappers of models in distributed training.
MODEL_WRAPPERS = Registry(
    'model_wrapper', parent=MMENGINE_MODEL_WRAPPERS, scope='mmmaskany', locations=['mmmaskany.engine']
)
#: Optimizer wrappers.
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='mmmaskany', locations=['mmmaskany.engine']
)
