# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How the stem of a backbone is found, and the half-stride twin of it made."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

from torch import nn

_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Stem:
    """The stem of a host backbone.

    Args:
        parts (tuple[str, ...]): Names of the host's modules that form it, in the order they run. The last one is
            where the features are fused.
        twin (nn.Module): The stem of the reused image, with half the stride; its parts bear the same names.
        stride (float): Stride of the twin, 0.5 where the host's stem has stride 1.
        channels (int): Channels that both return.
    """

    parts: tuple[str, ...]
    twin: nn.Module
    stride: float
    channels: int


def find_stem(host: nn.Module, name: str | None = None) -> Stem:
    """Find the stem of a backbone and make its half-stride twin.

    For ResNets the stem is everything up to and including the max pool (ResNet_CIFAR has none). The twin is a copy
    in which the last strided layer has half its stride; a stem of stride 1 stays as it is, and its features are
    upsampled.

    Args:
        host (nn.Module): The backbone.
        name (str | None): Name of the module that is the stem, for a backbone of another family, such as
            ``'features.0'``. Defaults to None.

    Raises:
        ValueError: If no stem is found, the named one does not exist, it holds nothing whose stride could be halved,
            or it cuts patches.
    """
    if name is not None:
        modules = dict(host.named_modules())
        if not name or name not in modules:
            children = [child for child, _ in host.named_children()]
            raise ValueError(f'{type(host).__name__} has no module named {name!r} to be its stem; it has {children}')
        parts = (name,)
    elif all(hasattr(host, part) for part in ('stem', 'maxpool', 'layer1')):
        parts = ('stem', 'maxpool')
    elif all(hasattr(host, part) for part in ('conv1', 'norm1_name', 'relu', 'layer1')):
        parts = ('conv1', host.norm1_name, 'relu')
        if hasattr(host, 'maxpool'):
            parts = (*parts, 'maxpool')
    else:
        raise ValueError(
            f'the stem of {type(host).__name__} is not known; those of the ResNet family are (ResNet, ResNetV1c, '
            f"ResNetV1d, ResNeXt, ResNet_CIFAR and what derives from them). Name the module, as in stem='conv1': "
            f'{type(host).__name__} begins with {[child for child, _ in host.named_children()][:4]}'
        )
    if len(parts) == 1:
        twin = copy.deepcopy(host.get_submodule(parts[0]))
    else:
        twin = nn.Sequential()
        for part in parts:
            twin.add_module(part, copy.deepcopy(getattr(host, part)))

    strided = [module for module in twin.modules() if isinstance(module, _STRIDED)]
    convs = [module for module in strided if isinstance(module, nn.Conv2d)]
    if not convs:
        raise ValueError(f'a stem needs a convolution, but {parts} of {type(host).__name__} has none')
    stride = math.prod(_side(module.stride) for module in strided)
    if stride > 1:
        last = next(module for module in reversed(strided) if _side(module.stride) > 1)
        if _side(last.stride) % 2:
            raise ValueError(
                f'the stride of {last} in the stem {parts} of {type(host).__name__} must be even to be halved'
            )
        if isinstance(last, nn.Conv2d) and _side(last.kernel_size) == _side(last.stride):
            raise ValueError(
                f'the stem {parts} of {type(host).__name__} cuts patches (kernel {_side(last.kernel_size)} = stride), '
                "which is not supported yet; fuse_at='neck' needs no second stem"
            )
        last.stride = _halve(last.stride)
    return Stem(parts, twin, stride / 2, convs[-1].out_channels)


def _side(stride: int | tuple[int, int]) -> int:
    """Return the stride as one number."""
    if isinstance(stride, int):
        return stride
    if stride[0] != stride[1]:
        raise ValueError(f'a stem must have the same stride in both directions, but got {stride}')
    return stride[0]


def _halve(stride: int | tuple[int, int]) -> int | tuple[int, int]:
    return stride // 2 if isinstance(stride, int) else tuple(side // 2 for side in stride)
