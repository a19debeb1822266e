# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Training checkpoints that ``torch.load`` reads under its ``weights_only`` protection.

MMEngine pickles its log histories together with functions, which ``weights_only=True`` (the default of PyTorch 2.6 and
later) refuses: no training run could be resumed. :func:`install` gives the histories a state of plain numbers and
allows exactly the types that such a state consists of. No function and no code is ever allowed, wherever a checkpoint
comes from: downloads, which MMEngine reads without the protection, are read under it too.
"""

import contextlib
import importlib
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import mmengine.runner.checkpoint
import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors import SafetensorError
from safetensors.torch import load_file

from .kinds import describe, is_safetensors
from .records import plain_records_allowed

_CONVERTER = 'tools/model_converters/upgrade_checkpoint.py'
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


def read_checkpoint(path: str | os.PathLike, map_location: str | torch.device | None = 'cpu') -> dict:
    """Read a checkpoint under the ``weights_only`` protection.

    Args:
        path (str | os.PathLike): A local file.
        map_location (str | torch.device, optional): As for ``torch.load``. Defaults to ``'cpu'``.

    Returns:
        dict: What the file holds; of a safetensors file its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, not a checkpoint, or holds objects that the protection refuses. The
            message names the file, and says what it is where that can be told.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'checkpoint must be an existing file, but got {path}' + (', a folder' if os.path.isdir(path) else '')
        )
    try:
        if is_safetensors(path):
            return load_file(path, device=str(map_location or 'cpu'))
        with plain_records_allowed():
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r'GLOBAL ([\w.]+)', str(error))
        if refused is None:
            raise ValueError(_unreadable(path)) from error
        message = f'checkpoint {path} must hold tensors and plain values only, but also holds {refused[1]}'
        if refused[1] == 'getattr':
            message += (
                ', as every training checkpoint written by MMEngine without mmmaskany does: rewrite it once with '
                f'`python {_CONVERTER} {path}`'
            )
        else:
            message += (
                ', which may run code: where you trust it, write down its tensors alone, in the program that made it '
                'by `torch.save(network.state_dict(), NEW)`'
            )
        raise ValueError(message) from error
    except PermissionError:
        raise
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(_unreadable(path)) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f"checkpoint {path} must hold a dict of tensors or one with 'state_dict', but holds a "
            f'{type(checkpoint).__name__}'
        )
    return checkpoint


def _unreadable(path: str) -> str:
    what, size = describe(path) or 'truncated or something else', Path(path).stat().st_size
    return f'checkpoint {path} must be a complete PyTorch file, but is {what} ({size:,} bytes)'


def load_from_local(filename: str, map_location: str | torch.device | None = None) -> dict:
    """MMEngine's loader of local files, with errors that name the file and the way out."""
    return read_checkpoint(filename, map_location)


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


def install() -> None:
    """Make training checkpoints loadable under ``weights_only=True``, for ``torch.load`` and MMEngine alike."""
    HistoryBuffer.__reduce__ = _reduce_history
    torch.serialization.add_safe_globals([HistoryBuffer, *_numpy_types()])
    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
    mmengine.runner.checkpoint.load_url = load_url  # what the loaders of all kinds of addresses call
