# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""mmcv's operators, given maps in the order of memory that they read."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable

import torch
from torch import Tensor

with contextlib.suppress(ImportError):  # mmcv-lite has none
    import mmcv.ops  # noqa: F401

#: The operators that take maps in any order already.
_SEEN: set[type] = set()


def make_contiguous() -> None:
    """Let the operators of ``mmcv.ops`` take maps in any order of memory. Once is enough.

    Many read a map by addresses, as if it were contiguous, and do not look (mmcv 2.1): of one in channels_last,
    which timm's ConvNeXt returns, and any convolution makes of such a one, ``RoIAlign``, ``RoIAlignRotated`` and
    ``ModulatedDeformConv2d`` compute something else, and say nothing. Here every ``torch.autograd.Function`` of theirs
    gets contiguous copies of such maps, for all users of mmcv in the process; contiguous ones are passed as they are.
    """
    files = [module for name, module in sys.modules.items() if name.startswith('mmcv.ops.')]
    for item in {item for module in files for item in vars(module).values() if isinstance(item, type)}:
        if issubclass(item, torch.autograd.Function) and item not in _SEEN:
            item.forward = staticmethod(_contiguous(item.forward))  # type: ignore[method-assign]
            _SEEN.add(item)


def _contiguous(forward: Callable) -> Callable:
    @functools.wraps(forward)
    def wrapped(ctx: object, *args: object, **kwargs: object) -> object:
        maps = [arg.contiguous() if isinstance(arg, Tensor) and arg.ndim == 4 else arg for arg in args]
        return forward(ctx, *maps, **kwargs)

    return wrapped
