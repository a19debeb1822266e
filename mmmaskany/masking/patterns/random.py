# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Cells anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator, Tensor

from ..random_numbers import Numbers, rand
from .base import Layout, SampleLayouts
from .ranked import RankedPattern


class RandomPattern(RankedPattern):
    """Cells anywhere, all equally likely (MaskAnyNet's random; SimMIM's and MAE's masks).

    Args:
        scale (float | None): See :class:`.Pattern`. Defaults to None.
        ratio (float | None): See :class:`.Pattern`. Defaults to None.
        cell (int | Sequence[int]): Side of a cell in pixels, or those to draw from. Defaults to 16.
        base (int): Side of a base cell in pixels. Defaults to 4.
    """

    needs = ()

    def __init__(
        self,
        scale: float | None = None,
        ratio: float | None = None,
        cell: int | Sequence[int] = 16,
        base: int = 4,
    ) -> None:
        super().__init__(scale, ratio, cell, base)

    def count_numbers(self, largest: Layout) -> int:
        return largest.grid_rows * largest.grid_cols

    def scores(
        self, layout: SampleLayouts, largest: Layout, generator: Generator | Numbers | None, **data: Tensor
    ) -> Tensor:
        shape = len(layout.count), largest.grid_rows, largest.grid_cols
        return rand(*shape, generator=generator, device=layout.count.device)
