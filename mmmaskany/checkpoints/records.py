# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Plain records beside the weights of a published file: what a training was started with, and nothing that runs.

MAE, DeiT and Swin were published together with an ``argparse.Namespace`` or a config. Each type below is read either as
what it is, where making it runs nothing but the standard library's constructor of a value, or as a stand-in that keeps
its fields. Whatever is not listed stays refused: functions, modules, optimisers, any class with behaviour.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import types
from collections import OrderedDict


class Record:
    """Stands for a record of a library that may not be installed: keeps its fields, does nothing.

    Args:
        *args: What the record was made of.
    """

    def __new__(cls, *args) -> Record:
        record = super().__new__(cls)
        record.args = args
        return record

    def __init__(self, *args) -> None: ...

    def __repr__(self) -> str:
        return f'Record({vars(self)})'


def _default_dict(*_) -> OrderedDict:
    """Stand for ``collections.defaultdict``, without what makes its defaults."""
    return OrderedDict()


def _path(*parts: str) -> str:
    """Stand for a path of any system."""
    return str(pathlib.PurePosixPath(*parts)) if parts else ''


#: Records that are dicts: configs of Swin, DINOv2, Lightning and others.
_DICTS = (
    'yacs.config.CfgNode',
    'fvcore.common.config.CfgNode',
    'detectron2.config.config.CfgNode',
    'easydict.EasyDict',
    'addict.addict.Dict',
    'munch.Munch',
    'ml_collections.config_dict.config_dict.ConfigDict',
    'mmcv.utils.config.ConfigDict',
    'mmengine.config.config.ConfigDict',
    'pytorch_lightning.utilities.parsing.AttributeDict',
    'lightning_fabric.utilities.data.AttributeDict',
    'lightning.fabric.utilities.data.AttributeDict',
    'lightning.pytorch.utilities.parsing.AttributeDict',
)
#: Records that are objects with fields.
_OBJECTS = (
    'omegaconf.dictconfig.DictConfig',
    'omegaconf.listconfig.ListConfig',
    'omegaconf.base.ContainerMetadata',
    'omegaconf.base.Metadata',
    *(f'omegaconf.nodes.{kind}Node' for kind in ('Any', 'String', 'Integer', 'Float', 'Boolean', 'Bytes', 'Path')),
    'typing.Any',
)
_PATHS = tuple(
    f'{module}.{kind}Path'
    for module in ('pathlib', 'pathlib._local')
    for kind in ('', 'Pure', 'Posix', 'Windows', 'PurePosix', 'PureWindows')
)

#: As ``torch.serialization.safe_globals`` takes them.
RECORDS = [
    argparse.Namespace,
    types.SimpleNamespace,
    datetime.date,
    datetime.time,
    datetime.datetime,
    datetime.timedelta,
    datetime.timezone,
    collections.Counter,
    (_default_dict, 'collections.defaultdict'),
    *(
        (kind, f'builtins.{kind.__name__}')
        for kind in (int, float, bool, str, list, tuple, dict, set, frozenset, bytes)
    ),
    (str, 'torch.torch_version.TorchVersion'),
    *((OrderedDict, name) for name in _DICTS),
    *((Record, name) for name in _OBJECTS),
    *((_path, name) for name in _PATHS),
]
