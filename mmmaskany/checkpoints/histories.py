# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Log histories as plain values, so that any program loads a training checkpoint under ``weights_only=True``.

MMEngine's inferencers read a checkpoint before they build a model, so before anything of ours is imported: a file must
need no list of safe types. What MMEngine's Runner saves beside tensors and plain values is in its message hub: log
histories, and scalars of NumPy.
"""

from collections.abc import Mapping

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_KEYS = {'log_history', 'count_history', 'max_length'}


def to_plain(checkpoint: Mapping) -> dict:
    """Replace the log histories of a checkpoint by tensors, and NumPy's scalars beside them by Python's.

    Args:
        checkpoint (Mapping): What is going to be written. Left as it is.

    Returns:
        dict: The same content.
    """
    hub = checkpoint.get('message_hub')
    if not isinstance(hub, Mapping):
        return dict(checkpoint)
    plain = {
        section: {name: _plain(value) for name, value in values.items()} if isinstance(values, Mapping) else values
        for section, values in hub.items()
    }
    return {**checkpoint, 'message_hub': plain}


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, HistoryBuffer):
        return value
    arrays = dict(log_history=value._log_history, count_history=value._count_history)
    # As bytes: a run may resume on a device that has no float64.
    packed = {name: (array.dtype.str, torch.from_numpy(array.view(np.uint8).copy())) for name, array in arrays.items()}
    return packed | dict(max_length=value.max_length)


def from_plain(checkpoint: dict) -> None:
    """Make log histories again of what :func:`to_plain` made of them, in place.

    Args:
        checkpoint (dict): What was read.
    """
    hub = checkpoint.get('message_hub')
    scalars = hub.get('log_scalars') if isinstance(hub, dict) else None
    for name, value in scalars.items() if isinstance(scalars, dict) else ():
        if isinstance(value, dict) and value.keys() == _KEYS:
            packed = (value[key] for key in ('log_history', 'count_history'))
            arrays = (data.cpu().numpy().view(dtype) for dtype, data in packed)
            scalars[name] = HistoryBuffer(*arrays, value['max_length'])
