# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Putting back: features of the reused view, where the cells that they are of came from (``reuse='aligned'``)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .draw import Draw, memory_format


def put_back(
    features: Tensor, draw: Draw, size: tuple[int, int], strides: tuple[int, int], seen: tuple[int, ...] | None = None
) -> Tensor:
    """Put the features of the reused view where the cells that they are of came from.

    Each feature is repeated over its stride, each piece of a cell takes the one that lies on its centre, and a feature
    of the output is the mean over its stride, in which all that is not masked counts as 0. So with half the stride
    2 x 2 features become one; where a feature covers several cells it goes to all of them, which blurs.

    Args:
        features (Tensor): Features of the canvases, ``(B, C, h, w)``.
        draw (Draw): The draw that they were made with, with a source map.
        size (tuple[int, int]): Height and width of the output, in features of the visible image.
        strides (tuple[int, int]): Stride in px of the features of the visible image and of the canvas. The first is a
            multiple of the second.
        seen (tuple[int, ...] | None): Height and width in px to which the canvas was resized before; None where it was
            not. Defaults to None.

    Returns:
        Tensor: ``(B, C, *size)``, in dtype and memory format of ``features``; 0 where nothing is masked.

    Raises:
        ValueError: If the draw feeds no reused view, was made for another batch, or the strides are no such numbers.
    """
    stride, reused_stride = strides
    if not (reused_stride >= 1 and stride % reused_stride == 0):
        raise ValueError(f'the first of strides must be a multiple of the second, but got {strides}')
    places = draw.places
    if len(places) != len(features):
        raise ValueError(f'the draw was made for {len(places)} images, but got features of {len(features)}')
    assert draw.source is not None  # it has places
    (batch, channels, height, width), canvas = features.shape, draw.source.shape[1:]
    unit = math.gcd(draw.base, reused_stride)  # px of a piece: of one cell, and of one feature
    pieces = stride // unit

    def along(axis: int) -> tuple[Tensor, Tensor]:
        """Return the base cell of each piece along an axis, and how many half px the piece's centre lies in it."""
        start = torch.arange(size[axis] * pieces, device=places.device) * unit
        return start // draw.base, 2 * (start % draw.base) + unit

    (row, down), (col, right) = along(0), along(1)
    inside = (row < places.shape[1])[:, None] & (col < places.shape[2])  # the rest is beyond the base grid
    place = places[:, row.clamp(max=places.shape[1] - 1)][:, :, col.clamp(max=places.shape[2] - 1)]
    there, place = inside & (place >= 0), place.clamp(min=0)

    def feature(index: Tensor, half: Tensor, axis: int, count: int) -> Tensor:
        """Return the feature on which the centre of a piece lies that is in such a cell of the canvas."""
        side = canvas[axis] * draw.base
        centre = (2 * index * draw.base + half) * (side if seen is None else seen[axis])
        return (centre // (2 * side * reused_stride)).clamp(max=count - 1)

    index = feature(place // canvas[1], down[:, None], 0, height) * width + feature(place % canvas[1], right, 1, width)
    index = index + torch.arange(batch, device=index.device).view(-1, 1, 1) * (height * width)
    # One bag of pieces for each feature of the output: its sum needs no copy of the features as large as the pieces.
    bags, weights = (
        each.unflatten(2, (-1, pieces)).unflatten(1, (-1, pieces)).transpose(2, 3).flatten(3).flatten(0, 2)
        for each in (index, there)
    )
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    weights = weights.to(table.dtype) / pieces**2
    out = F.embedding_bag(bags, table, mode='sum', per_sample_weights=weights)
    out = out.view(batch, *size, channels).permute(0, 3, 1, 2)
    return out.contiguous(memory_format=memory_format(features))
