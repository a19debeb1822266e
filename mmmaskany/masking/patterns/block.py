# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Overlapping blocks of cells."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from ..random_numbers import Numbers, rand
from .base import Layout, SampleLayouts
from .ranked import RankedPattern


class BlockPattern(RankedPattern):
    """Overlapping rectangles of cells, as in BEiT (arXiv 2106.08254, Algorithm 1), with an exact count.

    Rectangles of a random place, size and aspect are masked one after the other, the last one from its centre
    outwards, until the count is reached.

    Args:
        scale (float | None): See :class:`.Pattern`. Defaults to None.
        ratio (float | None): See :class:`.Pattern`. Defaults to None.
        cell (int | Sequence[int]): Side of a cell in pixels, or those to draw from. Defaults to 16.
        aspect (tuple[float, float]): Range of height / width of a rectangle, drawn log-uniformly.
            Defaults to (0.3, 1 / 0.3).
        base (int): Side of a base cell in pixels. Defaults to 4.

    Raises:
        ValueError: If ``aspect`` is not an increasing pair of positive numbers.
    """

    needs = ()
    #: Rectangles drawn per image, and the least share of the masked area that each has (16 of 75 in BEiT).
    num_blocks = 8
    min_share = 0.2

    def __init__(
        self,
        scale: float | None = None,
        ratio: float | None = None,
        cell: int | Sequence[int] = 16,
        aspect: tuple[float, float] = (0.3, 1 / 0.3),
        base: int = 4,
    ) -> None:
        super().__init__(scale, ratio, cell, base)
        if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1]:
            raise ValueError(f'aspect must be an increasing pair of positive numbers, but got {aspect}')
        self.aspect = tuple(aspect)

    def count_numbers(self, largest: Layout) -> int:
        return 4 * self.num_blocks

    def scores(
        self, layout: SampleLayouts, largest: Layout, generator: Generator | Numbers | None, **data: Tensor
    ) -> Tensor:
        batch, device = len(layout.count), layout.count.device
        share, slant, y, x = rand(batch, 4, self.num_blocks, 1, 1, generator=generator, device=device).unbind(1)
        _, _, grid_rows, grid_cols, _, _, count = (v.view(-1, 1, 1, 1) for v in layout)
        area = (self.min_share + (1 - self.min_share) * share) * count
        low, high = (math.log2(bound) for bound in self.aspect)
        aspect = torch.exp2(low + (high - low) * slant)  # a graph would make a kernel of its own of exp
        height = torch.minimum((area * aspect).sqrt(), grid_rows)
        width = torch.minimum((area / aspect).sqrt(), grid_cols)
        # Distance of each cell's centre from the rectangle's: below 1 inside.
        row = torch.arange(largest.grid_rows, device=device).view(-1, 1) + 0.5
        col = torch.arange(largest.grid_cols, device=device) + 0.5
        middle_y = height / 2 + y * (grid_rows - height)
        middle_x = width / 2 + x * (grid_cols - width)
        down, across = (row - middle_y).abs() / height, (col - middle_x).abs() / width
        distance = torch.maximum(down, across) * 2
        # Cells that are as far as others come in the order of the other direction, not in that of the image.
        place = distance + torch.minimum(down, across) / 1024
        order = torch.arange(self.num_blocks, device=device).view(-1, 1, 1)
        inside = torch.where(distance < 1, order + place, math.inf)
        # Should the rectangles not suffice, the first one grows. In a graph the minima are no kernel of their own.
        return functools.reduce(torch.minimum, inside.unbind(1), self.num_blocks + place[:, 0])
