# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The one reader of checkpoints as people have them.

:func:`read_weights` opens a file of any publisher and finds the tensors in it; :func:`place` gives them the names of a
module, or refuses them. Both are what ``init_cfg``, ``load_from``, the converters and the checks at launch go through.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .normalisation import Normalisation, find_normalisation
from .protection import read_checkpoint

#: Where the weights of a file lie, the first one wins. Averaged weights come before those that were trained, as timm
#: and the authors of the files have it. MMEngine's own averaged weights are in ``state_dict``.
CONTAINERS = (
    'state_dict_ema', 'model_ema', 'ema_model', 'ema', 'params_ema', 'teacher', 'target_encoder',
    'state_dict', 'model_state_dict', 'model_state', 'model', 'net', 'network', 'module', 'backbone', 'encoder',
    'visual', 'weights', 'params', 'state', 'student',
)  # fmt: skip
#: What else lies in such files and holds tensors, but no network.
_OTHER = re.compile(r'optim|sched|scaler|rng|loss|criterion|meta$|message_hub|gradients|callbacks|loops', re.IGNORECASE)
#: Modules that PyTorch puts around others, by the names that they give them.
_AROUND = re.compile(r'(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.')


class Weights(NamedTuple):
    """The tensors of a network, as a file has them.

    Args:
        tensors (dict[str, Tensor]): By the file's names, without what DDP and ``torch.compile`` put before them.
        path (str): The file.
        container (str): Where in the file they lie, such as ``'model_ema'`` or ``'ema.module'``; '' is the file itself.
        wrapper (str): What was taken off the names, such as ``'module.'``, or ''.
        meta (dict): What else the file says: ``meta`` of OpenMMLab, else the plain values beside the weights.
        normalisation (Normalisation | None): How the images of its training were prepared, where that is known.
        others (tuple[str, ...]): Further containers of the file, which an option may name instead.
    """

    tensors: dict[str, Tensor]
    path: str
    container: str
    wrapper: str
    meta: dict
    normalisation: Normalisation | None
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"'{self.container}' of {self.path}" if self.container else self.path
        taken = f", without '{self.wrapper}' before its names" if self.wrapper else ''
        return text + taken + (f' (it also has {", ".join(map(repr, self.others))})' if self.others else '')


def read_weights(path: str | os.PathLike, container: str | None = None) -> Weights:
    """Read the weights of a network, whatever they are packed into. Nothing in the file is executed.

    Args:
        path (str | os.PathLike): A local file of PyTorch or safetensors.
        container (str | None): Where in the file the weights lie, such as ``'state_dict'`` or ``'ema.module'``. None
            takes the first one of :data:`CONTAINERS`. Defaults to None.

    Returns:
        Weights: The tensors, and what is known of them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, holds no tensors, or does not have this container.
    """
    return unpack(read_checkpoint(path), os.path.expanduser(os.fspath(path)), container)


def unpack(checkpoint: Mapping, path: str = '', container: str | None = None) -> Weights:
    """Find the weights in what a file holds; see :func:`read_weights`.

    Args:
        checkpoint (Mapping): What the file holds.
        path (str): What to call it. Defaults to ''.
        container (str | None): Where the weights lie. Defaults to None.

    Returns:
        Weights: The tensors, and what is known of them.

    Raises:
        ValueError: If there are none, or not this container.
    """
    found = dict(_find(checkpoint))
    if container is not None:
        if container not in found:
            raise ValueError(
                f'container must be one of {_quoted(found)}, the ones with tensors in {path}, but got {container!r}'
            )
        taken = container
    else:
        taken = _choose(found, path)
    tensors, wrapper = _unwrap(found[taken])
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        meta = {key: value for key, value in checkpoint.items() if not isinstance(value, Mapping | Tensor)}
    others = tuple(name for name in found if name and name != taken and not name.startswith(f'{taken}.'))
    return Weights(tensors, path, taken, wrapper, meta, find_normalisation(path, checkpoint), others)


def _find(node: Mapping, name: str = '', depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield what holds tensors by their names, with its dotted place."""
    tensors = {key: _tensor(value) for key, value in node.items() if isinstance(key, str)}
    tensors = {key: value for key, value in tensors.items() if value is not None}
    if tensors:
        yield name, tensors
    for key, child in node.items():
        if isinstance(key, str) and isinstance(child, Mapping) and depth < 3 and not _OTHER.search(key):
            yield from _find(child, f'{name}.{key}' if name else key, depth + 1)


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'fiub':
        return torch.from_numpy(np.ascontiguousarray(value))
    return None


def _choose(found: Mapping[str, Mapping], path: str) -> str:
    if not found:
        raise ValueError(f'checkpoint {path} must hold tensors by their names, but has none')
    nested = [name for name in found if name]
    for known in CONTAINERS:
        inside = [name for name in nested if name.split('.')[0] == known]
        if inside:  # {'ema': {'decay': ..., 'module': ...}}: what has the most in it
            return max(inside, key=lambda name: len(found[name]))
    if '' in found or len(nested) == 1:
        largest = max(found, key=lambda name: len(found[name]))
        return largest if len(nested) < 2 else ''
    raise ValueError(
        f'checkpoint {path} must say where its weights lie, but holds tensors in {_quoted(nested)}: name one of them '
        'as the container'
    )


def _quoted(names) -> str:
    return ', '.join(repr(name) for name in names)


def _unwrap(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Take off the names what DDP, FSDP, averaging and ``torch.compile`` put before them."""
    taken = []
    names = {name: _AROUND.sub('', name) for name in tensors}
    if any(name != new for name, new in names.items()):
        taken.append(next(match[0] for name in tensors if (match := _AROUND.search(name))))
    while True:
        inside = [new for new in names.values() if '.' in new]
        if not inside or not all(new.startswith('module.') for new in inside):
            break
        names = {name: new.removeprefix('module.') for name, new in names.items()}
        taken.append('module.')
    if len(set(names.values())) < len(names):  # both are there: the names are what they should be
        return dict(tensors), ''
    return {new: tensors[name] for name, new in names.items()}, ''.join(dict.fromkeys(taken))


def place(weights: Weights | Mapping[str, Tensor], module: nn.Module, prefix: str | None = None) -> dict[str, Tensor]:
    """Give weights the names of a module.

    Args:
        weights (Weights | Mapping[str, Tensor]): The weights.
        module (nn.Module): A backbone, or a model that has one.
        prefix (str | None): What the names of the wanted tensors begin with in the file; None finds it out. Defaults
            to None.

    Returns:
        dict[str, Tensor]: The tensors by the module's names, ready for ``module.load_state_dict(..., strict=False)``.

    Raises:
        CheckpointMismatchError: If they leave a gap in the backbone, or belong to another one.
    """
    raise NotImplementedError


def guess_network(weights: Weights) -> str | None:
    """Tell from its tensors which network a file is of.

    Args:
        weights (Weights): The weights.

    Returns:
        str | None: ``'timm/NAME'``, or a name of mmpretrain's hub; None where it cannot be told.
    """
    return None
