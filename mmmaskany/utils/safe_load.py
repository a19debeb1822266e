# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Training checkpoints that ``torch.load`` reads under its ``weights_only`` protection.

MMEngine pickles its log histories together with functions, which ``weights_only=True`` (the default of PyTorch 2.6 and
later) refuses: no training run could be resumed. :func:`install` gives the histories a state of plain numbers and
allows exactly the types that such a state consists of. No function and no code is ever allowed.
"""

import importlib
import os
import pickle
import re
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

_CONVERTER = 'tools/model_converters/upgrade_checkpoint.py'


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
        dict: What the file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, not a checkpoint, or holds objects that the protection refuses. The
            message names the file.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'checkpoint must be an existing file, but got {path}')
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r'GLOBAL ([\w.]+)', str(error))
        if refused is None:
            raise ValueError(_unreadable(path)) from error
        message = f'checkpoint {path} must hold tensors and plain values only, but also holds {refused[1]}'
        if refused[1] == 'getattr':
            message += (
                ', as every training checkpoint written by MMEngine without mmmaskany does. If you trust where the '
                f'file comes from, rewrite it once with `python {_CONVERTER} {path}`'
            )
        raise ValueError(message) from error
    except PermissionError:
        raise
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(_unreadable(path)) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f"checkpoint {path} must hold a dict of tensors or one with 'state_dict', but holds a "
            f'{type(checkpoint).__name__}'
        )
    return checkpoint


def _unreadable(path: str) -> str:
    size = Path(path).stat().st_size
    return f'checkpoint {path} must be a complete PyTorch file, but is truncated or something else ({size:,} bytes)'


def load_from_local(filename: str, map_location: str | torch.device | None = None) -> dict:
    """MMEngine's loader of local files, with errors that name the file and the way out."""
    return read_checkpoint(filename, map_location)


def install() -> None:
    """Make training checkpoints loadable under ``weights_only=True``, for ``torch.load`` and MMEngine alike."""
    HistoryBuffer.__reduce__ = _reduce_history
    torch.serialization.add_safe_globals([HistoryBuffer, *_numpy_types()])
    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
