# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Patterns that are guided: by where a network looks, or by where objects are.

Each ranks its cells by scores of the image. Where these come from is said by :attr:`GuidedPattern.guide`, and whoever
draws has to have them: MaskSub has those of attention and class activation, ``MaskedDetector`` and ``MaskedSegmentor``
those of objects.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .base import Pattern
from .mixture import MixturePattern
from .ranked import RankedPattern


class GuidedPattern(RankedPattern):
    """Masks the cells of the highest, or of the lowest scores that a guide gives.

    Args:
        ratio (float | None): See :class:`Pattern`. Defaults to None.
        scale (float | None): See :class:`Pattern`. Defaults to None.
        cell (int): Side of a cell in pixels. Defaults to 16.
        hide (str): One of :attr:`ways`: which cells are masked first. None is the first of them. Defaults to None.
        base (int | None): See :class:`RankedPattern`. Defaults to None.

    Raises:
        ValueError: If ``hide`` is not known.
    """

    #: What gives the scores: 'attention', 'activation' or 'objects'.
    guide = ''
    #: What may be hidden: the highest scores, the lowest scores.
    ways: tuple[str, str] = ('most', 'least')
    #: Labels of the objects that count; None is all.
    classes: tuple[int, ...] | None = None

    def __init__(
        self,
        ratio: float | None = None,
        scale: float | None = None,
        cell: int = 16,
        hide: str | None = None,
        base: int | None = None,
    ) -> None:
        super().__init__(scale, ratio, cell, base)
        hide = self.ways[0] if hide is None else hide
        if hide not in self.ways:
            raise ValueError(f'hide must be one of {self.ways}, but got {hide!r}')
        self.hide = hide

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, hide={self.hide!r})'

    def rank(
        self,
        batch: int,
        rows: int,
        cols: int,
        generator: Generator | None,
        device: torch.device | str | None,
        **data: Tensor,
    ) -> Tensor:
        scores = data['scores']
        return scores if self.hide == self.ways[0] else -scores


def guided(pattern: Pattern | MixturePattern) -> list[GuidedPattern]:
    """List the guided patterns of a pattern: itself, or those of a mixture."""
    parts = pattern.patterns if isinstance(pattern, MixturePattern) else [pattern]
    return [part for part in parts if isinstance(part, GuidedPattern)]
