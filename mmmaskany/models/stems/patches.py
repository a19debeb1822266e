# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The stems of the paper's networks that cut their images into patches: MaskViT and MaskSwin."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from .dual_stem import DualStem
from .fusions import Fusion, stem_channels


class LayerNorm2d(nn.LayerNorm):
    """Normalise every pixel of a map over its channels; the map comes out as channels_last.

    That is the order in which it is flattened into tokens next, so nothing is copied.

    Shape:
        - input, output: ``(B, C, H, W)``.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def patch_dual_stem(projection: nn.Conv2d, fusion: Fusion, norm: nn.LayerNorm | None = None) -> DualStem:
    """Make the dual stem that stands in the place of the convolution that cuts an image into patches.

    Args:
        projection (nn.Conv2d): The host's convolution. Both stems are new; the reused image's cuts patches of half
            the size.
        fusion (Fusion): The fusion, which tells the channels of the stems, see :func:`stem_channels`.
        norm (nn.LayerNorm | None): The norm of the host's tokens. Each stem gets its own, before the fusion.
            Defaults to None.

    Returns:
        DualStem: The dual stem.

    Raises:
        ValueError: If the convolution does not cut square patches of even size.
    """
    (height, width), stride, padding = projection.kernel_size, projection.stride, projection.padding
    if height != width or height % 2 or stride != (height, width) or padding != (0, 0):
        raise ValueError(
            f'patches must be square, of even size, and not overlap, so that those of the reused image have half the '
            f'size, but got kernel {(height, width)}, stride {stride}, padding {padding}'
        )

    def stem(size: int) -> nn.Module:
        channels, bias = stem_channels(fusion, projection.out_channels), projection.bias is not None
        conv = nn.Conv2d(projection.in_channels, channels, size, size, bias=bias)
        if norm is None:
            return conv
        return nn.Sequential(OrderedDict(projection=conv, norm=LayerNorm2d(channels, norm.eps)))

    return DualStem(stem(height), stem(height // 2), fusion, stride=height // 2)
