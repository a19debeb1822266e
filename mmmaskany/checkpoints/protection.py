# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The protected opening of files: no function and no code in a checkpoint is ever run, wherever it comes from.

MMEngine pickles its log histories together with functions, which ``weights_only=True`` (the default of PyTorch 2.6 and
later) refuses: no training run could be resumed. Here checkpoints are written with plain histories, which any program
loads. For those from before exactly the types are allowed that a history without functions consists of.

:func:`protect` does it for a whole process, and says what it replaces. Importing :mod:`mmmaskany.models`,
:mod:`mmmaskany.datasets` or :mod:`mmmaskany.engine` calls it, so that it is in force before a Runner whose config has a
type of ours loads anything; so do our tools. Importing this module replaces nothing.
"""

import contextlib
import importlib
import io
import json
import logging
import os
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.fileio import get_file_backend
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as checkpoint_module
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import nn

from .file_kinds import describe, describe_folder, is_safetensors
from .format import check_format, stamp
from .histories import from_plain, to_plain
from .late_fusion import name_late_fusion
from .records import RECORDS

_CONVERTER = 'tools/model_converters/upgrade_checkpoint.py'
#: How parts of a file are called.
_PART = re.compile(r'-(?P<one>\d{5})-of-(?P<all>\d{5})(?P<end>\.(safetensors|bin))$')
#: The begin of its SHA-256 in the name of a file, as OpenMMLab and PyTorch publish them; a date is none.
_HASH = re.compile(r'-(?!(?:19|20)\d{6}\.)([0-9a-f]{8,64})\.\w+$')


def _numpy_types() -> list:
    """What pickled arrays and scalars consist of, under the module names of NumPy 1 and 2."""
    multiarray = importlib.import_module(np.empty(0).__reduce__()[0].__module__)
    makers = [
        (getattr(multiarray, name), f'{module}.multiarray.{name}')
        for module in ('numpy._core', 'numpy.core')
        for name in ('_reconstruct', 'scalar')
    ]
    codes = (*np.typecodes['AllInteger'], *np.typecodes['Float'], '?', 'U', 'S')
    return [np.ndarray, np.dtype, *makers, *{type(np.dtype(code)) for code in codes}]


def _reduce_history(self) -> tuple:
    """Pickle a history as the arguments of its constructor, without its statistics functions."""
    return HistoryBuffer, (self._log_history, self._count_history, self.max_length)


#: What a checkpoint may hold beside tensors and plain values.
_SAFE = [HistoryBuffer, *_numpy_types()]


def read_checkpoint(path: str | os.PathLike, map_location: str | torch.device | None = 'cpu') -> dict:
    """Read a checkpoint under the ``weights_only`` protection.

    Args:
        path (str | os.PathLike): A local file, or the index (``.index.json``) of one in parts.
        map_location (str | torch.device, optional): As for ``torch.load``. Defaults to ``'cpu'``.

    Returns:
        dict: What the file holds; of a safetensors file its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, not a checkpoint, holds objects that the protection refuses, or is of a
            newer format than is known here (``NewerFormatError``). The message names the file, and says what it is
            where that can be told.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'checkpoint must be an existing file, but got {path}'
            + (f', {describe_folder(Path(path))}' if os.path.isdir(path) else '')
        )
    if str(path).endswith('.index.json'):
        return _read_parts(Path(path), map_location)
    if (part := _PART.search(str(path))) and int(part['all']) > 1:
        index = Path(path[: part.start()] + part['end'] + '.index.json')
        raise ValueError(
            f'checkpoint {path} must be the whole of a network, but is part {int(part["one"])} of {int(part["all"])}: '
            f'give the index of the parts, {index.name}, which lies beside them'
        )
    with open(path, 'rb') as file:
        return _read(file, str(path), map_location)


def _read_parts(index: Path, map_location: str | torch.device | None) -> dict:
    """Read a checkpoint in several files, as transformers and timm write a large one, by the index of its tensors."""
    try:
        names = json.loads(index.read_text(encoding='utf-8'))['weight_map']
        parts = sorted(set(names.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"checkpoint {index} must be the index of a file in parts, JSON with 'weight_map', but is not"
        ) from error
    tensors = {}
    for part in parts:
        if not isinstance(part, str) or Path(part).name != part:
            raise ValueError(f'the parts of {index} must be files beside it, but one is {part!r}')
        if not index.with_name(part).is_file():
            raise FileNotFoundError(f'{index} needs all its {len(parts)} parts beside it, but there is no {part}')
        with open(index.with_name(part), 'rb') as file:
            tensors |= _read(file, str(index.with_name(part)), map_location)
    if lost := [name for name in names if name not in tensors]:
        raise ValueError(f'the parts of {index} must hold all its {len(names)} tensors, but {lost[0]} is missing')
    return tensors


def _read(file: BinaryIO, name: str, map_location: str | torch.device | None) -> dict:
    """Read an open file; see :func:`read_checkpoint`."""
    allowed = torch.serialization.get_safe_globals()
    try:
        if is_safetensors(file):
            device = map_location or 'cpu'
            return {key: value.to(device) for key, value in load_safetensors(file.read()).items()}
        # The context takes away at its end what it was given, from those of `protect` as well.
        with torch.serialization.safe_globals([kind for kind in (*_SAFE, *RECORDS) if kind not in allowed]):
            checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r'GLOBAL ([\w.]+)', str(error))
        if refused is None:
            raise ValueError(_unreadable(file, name)) from error
        message = f'checkpoint {name} must hold tensors and plain values only, but also holds {refused[1]}'
        if refused[1] == 'getattr':
            message += (
                ', as every training checkpoint written by MMEngine without mmmaskany does: rewrite it once with '
                f'`python {_CONVERTER} {name}`'
            )
        else:
            message += (
                ', which may run code: where you trust it, write down its tensors alone, in the program that made it '
                'by `torch.save(network.state_dict(), NEW)`'
            )
        raise ValueError(message) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(_unreadable(file, name)) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f"checkpoint {name} must hold a dict of tensors or one with 'state_dict', but holds a "
            f'{type(checkpoint).__name__}'
        )
    check_format(checkpoint, f'checkpoint {name}')
    from_plain(checkpoint)
    return checkpoint


def _unreadable(file: BinaryIO, name: str) -> str:
    what, size = describe(file, name) or 'truncated or something else', file.seek(0, os.SEEK_END)
    return f'checkpoint {name} must be a complete PyTorch file, but is {what} ({size:,} bytes)'


# ---------------------------------------------------------------------- what stands in for functions of MMEngine


def load_from_local(filename: str, map_location: str | torch.device | None = None) -> dict:
    """MMEngine's loader of local files, with errors that name the file and the way out."""
    return read_checkpoint(filename, map_location)


def load_from_ceph(filename: str, map_location: str | torch.device | None = None, backend: str = 'petrel') -> dict:
    """MMEngine's loader of ``s3://`` and ``petrel://``."""
    data = get_file_backend(filename, backend_args=dict(backend=backend)).get(filename)
    return _read(io.BytesIO(data), filename, map_location)


def load_from_openmmlab(filename: str, map_location: str | torch.device | None = None) -> dict:
    """MMEngine's loader of ``open-mmlab://``, whose names may stand for local files, too."""
    name = filename.partition('://')[2]
    address = checkpoint_module.get_external_models()[checkpoint_module.get_deprecated_model_names().get(name, name)]
    if address.startswith(('http://', 'https://')):
        return checkpoint_module.load_from_http(address, map_location=map_location)
    return read_checkpoint(os.path.join(checkpoint_module._get_mmengine_home(), address), map_location)


def safe_torch_load(
    file: str | os.PathLike | BinaryIO,
    map_location: str | torch.device | None = None,
    weights_only: bool | None = None,
) -> dict:
    """What all loaders of the fork onedl-mmengine call; its own reads again without protection what that refuses."""
    if isinstance(file, str | os.PathLike):
        return read_checkpoint(file, map_location)
    return _read(file, str(getattr(file, 'name', 'of a file object')), map_location)


def load_url(
    url: str, model_dir: str | None = None, map_location: str | torch.device | None = None, progress: bool = True
) -> dict:
    """Download a checkpoint, unless it was before, and read it under the ``weights_only`` protection.

    MMEngine's own runs whatever code the file holds, and does not look at the hash that its name may end in.

    Args:
        url (str): Where it is.
        model_dir (str, optional): Folder to keep it in. Defaults to None, that of ``torch.hub``.
        map_location (str | torch.device, optional): As for ``torch.load``. Defaults to None.
        progress (bool): Whether to show how far it is. Defaults to True.

    Returns:
        dict: What the file holds.

    Raises:
        OSError: If it cannot be downloaded.
        ValueError: If it is no checkpoint, or its SHA-256 does not begin as its name says.
    """
    name = os.path.basename(urlparse(url).path)
    path = Path(model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints'), name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        known = _HASH.search(name)
        try:  # writes a temporary file, which gets its name when the hash is right
            torch.hub.download_url_to_file(url, str(path), known[1] if known else None, progress)
        except RuntimeError as error:
            raise ValueError(
                f'{url} must be the file whose SHA-256 begins with {known[1]}, as its name says, but {error}: it was '
                'cut off or is another one, and was not kept'
            ) from error
    return read_checkpoint(path, map_location)


def _statistics_of_history(owner: object, name: str) -> Callable:
    """Stand for ``getattr`` in checkpoints of plain MMEngine, which name the statistics of their histories by it."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'GLOBAL builtins.getattr of {owner!r} and {name!r}')
    return getattr(HistoryBuffer, name)


@contextlib.contextmanager
def plain_histories_allowed() -> Iterator[None]:
    """Let log histories be read as MMEngine pickles them without mmmaskany; nothing else is allowed beyond them."""
    with torch.serialization.safe_globals([(_statistics_of_history, 'builtins.getattr')]):
        yield


#: Where MMEngine keeps the name of its function that writes a checkpoint.
_WRITERS = (
    'mmengine.runner.checkpoint',
    'mmengine.runner',
    'mmengine.runner.runner',
    'mmengine._strategy.deepspeed',
    'mmengine._strategy.colossalai',
)
_save_checkpoint = checkpoint_module.save_checkpoint


def save_checkpoint(checkpoint: dict, *args, **kwargs) -> None:
    """MMEngine's function that writes a checkpoint: with the number of its format, and with plain log histories.

    Args:
        checkpoint (dict): The checkpoint; see :func:`mmmaskany.checkpoints.format.stamp`.
        *args: As for MMEngine's.
        **kwargs: As for MMEngine's.
    """
    _save_checkpoint(to_plain(stamp(checkpoint)), *args, **kwargs)


#: Where MMEngine keeps the name of its function that puts tensors into a model.
_FILLERS = ('mmengine.runner.checkpoint', 'mmengine.runner')
_load_state_dict = checkpoint_module.load_state_dict


def load_state_dict(
    module: nn.Module, state_dict: dict, strict: bool = False, logger: logging.Logger | str | None = None
) -> None:
    """MMEngine's function that puts tensors into a model, which takes late fusion by its former names, too.

    Args:
        module (nn.Module): The model.
        state_dict (dict): The tensors. Left as they are.
        strict (bool): Whether every tensor must have its place. Defaults to False.
        logger (logging.Logger | str, optional): For what has none. Defaults to None.
    """
    _load_state_dict(module, name_late_fusion(module, state_dict), strict, logger)


def protect() -> None:
    """Protect this process: whatever MMEngine loads is data, and what it writes can be loaded so. Once is enough.

    It replaces, for all users of MMEngine in the process:

    - ``HistoryBuffer.__reduce__``: log histories are pickled as numbers, without functions;
    - torch's list of safe globals gets those histories and NumPy's arrays and scalars;
    - ``CheckpointLoader``'s loaders of local files, ``s3://``, ``petrel://`` and ``open-mmlab://``, with those of this
      module, which say what is wrong with a file, refuse newer formats and do not heed
      ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``;
    - ``mmengine.runner.checkpoint.load_url``, which the loaders of web addresses call, with :func:`load_url`;
    - ``mmengine.runner.checkpoint._safe_torch_load`` where it exists (the fork onedl-mmengine), with
      :func:`safe_torch_load`, which has no way round the protection;
    - ``mmengine.runner.load_state_dict``, with :func:`load_state_dict`, for checkpoints of late fusion from the first
      release, see :mod:`mmmaskany.checkpoints.late_fusion`;
    - ``mmengine.runner.save_checkpoint``, under all names that MMEngine has for it, with :func:`save_checkpoint`.

    What is left as it is: ``pavi://``, whose client is not public, is read as ``torch.load`` reads by default.
    """
    HistoryBuffer.__reduce__ = _reduce_history
    torch.serialization.add_safe_globals(_SAFE)
    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
    CheckpointLoader.register_scheme([r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], loader=load_from_ceph, force=True)
    CheckpointLoader.register_scheme(['open-mmlab://', 'openmmlab://'], loader=load_from_openmmlab, force=True)
    checkpoint_module.load_url = load_url
    if hasattr(checkpoint_module, '_safe_torch_load'):
        checkpoint_module._safe_torch_load = safe_torch_load
    for name in _WRITERS:
        if name in sys.modules:
            sys.modules[name].save_checkpoint = save_checkpoint
    for name in _FILLERS:
        sys.modules[name].load_state_dict = load_state_dict
