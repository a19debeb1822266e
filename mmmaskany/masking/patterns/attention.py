# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What the class token attends to."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..random_numbers import rand
from .guided import GuidedPattern


class AttentionPattern(GuidedPattern):
    """What the class token of a ViT attends to most, or least (AttMask, arXiv 2203.12719).

    Hiding what is attended to most makes the task hard (AttMask-High); with ``shown`` some of it is left as a hint
    (AttMask-Hint); hiding the least keeps it (AttMask-Low).

    Args:
        ratio (float | None): See :class:`.Pattern`. Defaults to None.
        scale (float | None): See :class:`.Pattern`. Defaults to None.
        cell (int): Side of a cell in pixels. Defaults to 16.
        hide (str): 'most' or 'least'. Defaults to 'most'.
        shown (float): Share of all cells, drawn among those that would be masked, which are left as a hint; as many
            that are attended to next are masked in their place. Defaults to 0.
        base (int | None): See :class:`.RankedPattern`. Defaults to None.

    Raises:
        ValueError: If ``hide`` is not known, or ``shown`` is not below what is masked, or leaves nothing in its place.
    """

    guide = 'attention'

    def __init__(
        self,
        ratio: float | None = None,
        scale: float | None = None,
        cell: int = 16,
        hide: str = 'most',
        shown: float = 0.0,
        base: int | None = None,
    ) -> None:
        super().__init__(ratio, scale, cell, hide, base)
        masked = self.share if scale is None else scale**2
        if not 0 <= shown < masked or masked + shown > 1:
            raise ValueError(
                f'shown must be at least 0, less than the share {masked} that is masked and at most what that leaves, '
                f'but got {shown}'
            )
        self.shown = shown

    def rank(
        self,
        batch: int,
        rows: int,
        cols: int,
        generator: Generator | None,
        device: torch.device | str | None,
        **data: Tensor,
    ) -> Tensor:
        ranked = super().rank(batch, rows, cols, generator, device, **data)
        if not self.shown:
            return ranked
        (layout,) = self.layouts(rows * self.cell[0] // self.base, cols * self.cell[0] // self.base)
        flat = ranked.flatten(1)
        first = flat.argsort(1, descending=True)[:, : layout.count]
        # Any of those that would be masked may be the hint.
        chance = rand(*first.shape, generator=generator, device=first.device)
        hints = first.gather(1, chance.argsort(1)[:, : round(self.shown * rows * cols)])
        return flat.scatter(1, hints, float('-inf')).view_as(ranked)
