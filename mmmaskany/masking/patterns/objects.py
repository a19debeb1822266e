# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The inside of objects or labelled regions, or what is outside of them."""

from __future__ import annotations

from collections.abc import Sequence

from .guided import GuidedPattern


class ObjectPattern(GuidedPattern):
    """Cells inside of objects first, or only outside of them where these suffice; among equal ones at random.

    Objects are the boxes of a detector's samples, or the labelled regions of a segmentor's. As semantics guide the
    masks of SemMAE (arXiv 2206.10207), labels do here.

    Args:
        ratio (float | None): See :class:`.Pattern`. Defaults to None.
        scale (float | None): See :class:`.Pattern`. Defaults to None.
        cell (int): Side of a cell in pixels. Defaults to 16.
        hide (str): 'inside', by how much of a cell objects cover, the most first; or 'outside', the least first.
            Defaults to 'inside'.
        classes (Sequence[int] | None): Labels that count. None is all. Defaults to None.
        base (int | None): See :class:`.RankedPattern`. Defaults to None.

    Raises:
        ValueError: If ``hide`` is not known.
    """

    guide = 'objects'
    ways = ('inside', 'outside')

    def __init__(
        self,
        ratio: float | None = None,
        scale: float | None = None,
        cell: int = 16,
        hide: str = 'inside',
        classes: Sequence[int] | None = None,
        base: int | None = None,
    ) -> None:
        super().__init__(ratio, scale, cell, hide, base)
        self.classes = None if classes is None else tuple(classes)
