# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""One rectangle."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..random_numbers import Numbers, rand, uniform_index
from .base import Layout, Pattern, SampleLayouts


class PatchPattern(Pattern):
    """One rectangle at a uniform position (MaskAnyNet's "single patch"; without reuse, Cutout).

    Its own cell is the base cell: with ``scale`` the rectangle is ``round(scale * rows) x round(scale * cols)``
    base cells, with ``ratio`` it has the image's proportions and its last row may be incomplete.

    Args:
        scale (float | None): See :class:`Pattern`. Defaults to None.
        ratio (float | None): See :class:`Pattern`. Defaults to None.
        base (int): Side of a base cell in pixels. Defaults to 4.

    Example:
        >>> draw = PatchPattern(scale=0.5, base=1).draw(batch=2, height=8, width=8)
        >>> draw.mask.shape, draw.source.shape, draw.ratio
        (torch.Size([2, 8, 8]), torch.Size([2, 4, 4]), tensor([0.2500, 0.2500]))
    """

    def __init__(self, scale: float | None = None, ratio: float | None = None, base: int = 4) -> None:
        super().__init__(scale, ratio, base, base)

    def layouts(self, rows: int, cols: int) -> list[Layout]:
        (layout,) = super().layouts(rows, cols)
        if self.ratio is not None:
            return [layout]
        # One rectangle is the same as its base cells, and quicker to copy.
        return [Layout(layout.rows, layout.cols, rows, cols, 1, 1, 1)]

    def count_numbers(self, largest: Layout) -> int:
        return 2

    def place(
        self, layout: SampleLayouts, largest: Layout, generator: Generator | Numbers | None, **data: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, device = len(layout.count), layout.count.device
        space = rand(batch, 2, 1, generator=generator, device=device)
        # Own cells of one base cell lie next to each other; a single larger one is the whole rectangle.
        rows, cols = largest.rows * largest.height, largest.cols * largest.width
        top = uniform_index(space[:, 0], largest.grid_rows - rows + 1)
        left = uniform_index(space[:, 1], largest.grid_cols - cols + 1)
        if largest.count == 1:
            return top, left
        rank = torch.arange(largest.count, device=device)
        return top + rank // largest.cols, left + rank % largest.cols
