# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The names of late fusion: those of the neck that fuses, and those of the backbone that does.

The first release fused in the neck alone, so its checkpoints have ``neck.fusions.0`` and, within that neck,
``neck.neck``. A backbone with ``fuse_at='levels'`` has the same tensors as ``backbone.level_fusions.0``, and ``neck``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn


def name_late_fusion(model: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Give the tensors of a checkpoint with late fusion the names that they have in a model.

    Args:
        model (nn.Module): The model: a backbone with late fusion, with or without a neck beside it.
        tensors (Mapping[str, Tensor]): The checkpoint's tensors. Left as they are.

    Returns:
        Mapping[str, Tensor]: The tensors, those of late fusion and of its inner neck as the model has them.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    for name, module in model.named_modules():
        if not name or getattr(module, 'fuse_at', 'stem') == 'stem':
            continue
        neck = f'{name.rpartition(".")[0]}.neck.'.removeprefix('.')
        in_neck, inner, levels = f'{neck}fusions.', f'{neck}neck.', f'{name}.level_fusions.'
        own = model.state_dict()
        if module.fuse_at == 'levels' and not _has(own, in_neck) and not _has(own, inner):
            tensors = _renamed(tensors, {in_neck: levels, inner: neck})
        elif module.fuse_at == 'neck' and not _has(tensors, in_neck):
            plain_neck = {neck: inner} if _has(own, inner) and not _has(tensors, inner) else {}
            tensors = _renamed(tensors, {levels: in_neck, **plain_neck})
    return tensors


def _has(tensors: Mapping[str, Tensor], start: str) -> bool:
    return any(key.startswith(start) for key in tensors)


def _renamed(tensors: Mapping[str, Tensor], starts: Mapping[str, str]) -> Mapping[str, Tensor]:
    """Exchange how names begin."""
    renamed = OrderedDict()
    for key, value in tensors.items():
        old = next((start for start in starts if key.startswith(start)), '')
        renamed[starts.get(old, '') + key.removeprefix(old)] = value
    if hasattr(tensors, '_metadata'):  # what PyTorch keeps beside the tensors
        renamed._metadata = tensors._metadata
    return renamed
