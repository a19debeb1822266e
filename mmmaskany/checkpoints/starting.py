# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Starting a module from a file: what ``init_cfg=dict(type='Pretrained', ...)`` comes to, in every library alike.

The libraries load such a file each in its own way, and say nothing of what stays empty. Here the module initialises
itself without the file, and the file is read, named and checked by :mod:`mmmaskany.checkpoints.reading`.
"""

from __future__ import annotations

from collections.abc import Callable

from mmengine.model import update_init_info
from mmengine.runner.checkpoint import CheckpointLoader, load_state_dict
from torch import nn

from .reading import Weights, place, read_weights, unpack


def pretrained_cfgs(module: nn.Module) -> tuple[list[dict], list[dict]]:
    """Return those of a module's ``init_cfg`` that name a checkpoint, and the others."""
    cfgs = getattr(module, 'init_cfg', None) or []
    cfgs = [cfgs] if isinstance(cfgs, dict) else list(cfgs)
    files = [cfg for cfg in cfgs if cfg.get('type') == 'Pretrained' and cfg.get('checkpoint')]
    return files, [cfg for cfg in cfgs if cfg not in files]


def read_start(init_cfg: dict) -> Weights:
    """Read the checkpoint of an ``init_cfg``.

    Args:
        init_cfg (dict): With ``checkpoint``, a file or an address of MMEngine, and maybe ``container``.

    Returns:
        Weights: The weights.

    Raises:
        FileNotFoundError: If it is on this machine and missing.
        ValueError: If it holds no weights.
    """
    path, container = init_cfg['checkpoint'], init_cfg.get('container')
    if '://' in str(path):
        return unpack(CheckpointLoader.load_checkpoint(path, map_location='cpu'), path, container)
    return read_weights(path, container)


def init_from_files(module: nn.Module, init: Callable[[], None]) -> None:
    """Initialise a module, then fill it from the checkpoints of its ``init_cfg``.

    Args:
        module (nn.Module): The module.
        init (Callable): What the module does by itself to initialise its weights.

    Raises:
        CheckpointMismatchError: If a checkpoint does not fill its network. The message names the file.
        FileNotFoundError: If a checkpoint is on this machine and missing.
        ValueError: If one holds no weights.
    """
    files, others = pretrained_cfgs(module)
    if not files:
        init()
        return
    cfg, module.init_cfg = module.init_cfg, others or None
    try:
        init()
    finally:
        module.init_cfg = cfg
    for file in files:
        load_state_dict(module, place(read_start(file), module, file.get('prefix')), strict=False)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'load model from: {file["checkpoint"]}')


def hold_to_files(model: nn.Module) -> None:
    """Let every plain network in a model that starts from a checkpoint be filled by it completely, or refuse it.

    Backbones with a second stem do so by themselves.

    Args:
        model (nn.Module): The model, before its weights are initialised.
    """
    for module in model.modules():
        if pretrained_cfgs(module)[0] and not hasattr(module, 'as_plain') and hasattr(module, 'init_weights'):
            module.init_weights = _Held(module)


class _Held:
    """Stands in for ``init_weights`` of one module, once."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self) -> None:
        del self.module.init_weights  # the module's own is back
        init_from_files(self.module, self.module.init_weights)
