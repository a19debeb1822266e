# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Features put back by loops over cells and pixels: what the package's own way must come to."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmmaskany.masking import Draw


def slowly(
    features: Tensor, draw: Draw, size: tuple[int, int], strides: tuple[int, int], seen: tuple[int, int] | None = None
) -> Tensor:
    """Put features back pixel by pixel, with loops alone: what :func:`put_back` says, read off the source map."""
    features, source = features.detach().double().numpy(), draw.source.numpy()
    stride, reused = strides
    batch, channels, height, width = features.shape
    canvas = [count * draw.base for count in source.shape[1:]]
    seen = canvas if seen is None else seen
    piece = np.gcd(draw.base, reused)
    image = np.zeros((batch, channels, size[0] * stride, size[1] * stride))
    cols = draw.mask.shape[2]
    for sample in range(batch):
        for i, j in np.ndindex(*source.shape[1:]):
            if source[sample, i, j] < 0:
                continue
            top, left = (draw.base * part for part in divmod(int(source[sample, i, j]), cols))
            for y, x in np.ndindex(draw.base, draw.base):
                if top + y >= image.shape[2] or left + x >= image.shape[3]:
                    continue
                centre = [
                    (cell * draw.base + part // piece * piece + piece / 2) * to / whole
                    for cell, part, to, whole in ((i, y, seen[0], canvas[0]), (j, x, seen[1], canvas[1]))
                ]
                row, col = (
                    min(int(np.floor(at / reused)), most - 1) for at, most in zip(centre, (height, width), strict=True)
                )
                image[sample, :, top + y, left + x] = features[sample, :, row, col]
    image = image.reshape(batch, channels, size[0], stride, size[1], stride).mean((3, 5))
    return torch.from_numpy(image)
