# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Cells at a regular stride."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from ..random_numbers import Numbers, rand, uniform_index
from .base import Layout, Pattern, SampleLayouts


class GridPattern(Pattern):
    """Cells at a regular stride (MaskAnyNet's grid; without reuse, GridMask).

    At scale s the stride is 1/s cells in both directions. Height and width of the cell are drawn independently.

    The reference's own grid (arXiv 2511.12480) is ``GridPattern(scale=0.5, cell=range(4, 17), base=1,
    phase='fixed')``: its first cell always lies in the corner, and it masks as many cells as fit, so that its share
    depends on their size; at 32 px it is 22.65 % on average, from 11.8 to 39.1 %.

    Args:
        scale (float | None): See :class:`Pattern`. Defaults to None.
        ratio (float | None): See :class:`Pattern`. Defaults to None.
        cell (int | Sequence[int]): Side of a cell in pixels, or those to draw from. Defaults to 8.
        base (int): Side of a base cell in pixels. Defaults to 4.
        phase (str): Where the first cell lies: 'random', anywhere, so that every pixel is masked as often as another
            and the count is that of the scale; or 'fixed', at the top left, with all cells at multiples of the stride.
            Defaults to 'random'.

    Raises:
        ValueError: If the phase is not known, or fixed without a ``scale`` whose inverse is a whole number.
    """

    def __init__(
        self,
        scale: float | None = None,
        ratio: float | None = None,
        cell: int | Sequence[int] = 8,
        base: int = 4,
        phase: str = 'random',
    ) -> None:
        super().__init__(scale, ratio, cell, base)
        if phase not in ('random', 'fixed'):
            raise ValueError(f"phase must be 'random' or 'fixed', but got {phase!r}")
        self.phase = phase
        if phase == 'fixed':
            self.stride  # noqa: B018 (raises where it cannot be fixed)

    def __repr__(self) -> str:
        phase = '' if self.phase == 'random' else f', phase={self.phase!r}'
        return f'{super().__repr__()[:-1]}{phase})'

    @property
    def stride(self) -> int:
        """The stride of a fixed phase, in own cells."""
        stride = round(1 / self.share)
        if self.scale is None or abs(stride * self.scale - 1) > 1e-6:
            share = f'ratio={self.ratio}' if self.scale is None else f'scale={self.scale}'
            raise ValueError(
                "phase='fixed' puts a cell at every multiple of a stride of 1 / scale cells, so the scale must be 1/2, "
                f"1/3, 1/4 ..., but got {share}: take one of these, or phase='random'"
            )
        return stride

    def cell_sizes(self) -> list[tuple[int, int]]:
        return [(height // self.base, width // self.base) for height in self.cell for width in self.cell]

    def _canvas_cells(self, rows: int, cols: int) -> tuple[int, int]:
        if self.phase == 'random':
            return super()._canvas_cells(rows, cols)
        stride = self.stride
        return -(-rows // stride), -(-cols // stride)

    def _fits(self, count: int, rows: int, cols: int, height: int, width: int) -> bool:
        # An image hardly larger than a cell ends no training.
        return self.phase == 'fixed' and 0 < count * height * width < rows * cols

    def count_numbers(self, largest: Layout) -> int:
        return 0 if self.phase == 'fixed' else 2

    def place(
        self, layout: SampleLayouts, largest: Layout, generator: Generator | Numbers | None, **data: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, device = len(layout.count), layout.count.device
        rank = torch.arange(largest.count, device=device)
        height, width, grid_rows, grid_cols, rows, cols, _ = (v.view(-1, 1) for v in layout)
        if self.phase == 'fixed':
            stride = self.stride
            return rank // cols * stride * height, rank % cols * stride * width
        phase = rand(batch, 2, 1, generator=generator, device=device)
        # floor((i * grid + phase) / n) with a whole phase in [0, grid): n distinct rows, in range, evenly spread.
        row = (rank // cols * grid_rows + uniform_index(phase[:, 0], grid_rows)) // rows
        col = (rank % cols * grid_cols + uniform_index(phase[:, 1], grid_cols)) // cols
        return row * height, col * width
