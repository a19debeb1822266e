# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Patterns that are guided: by where a network looks, or by where objects are.

Each ranks its cells by scores of the image. Where these come from is said by :attr:`GuidedPattern.guide`, and whoever
draws has to have them: MaskSub has those of attention and class activation, ``MaskedDetector`` and ``MaskedSegmentor``
those of objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from .numbers import rand
from .patterns import MixturePattern, Pattern, RankedPattern


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


class AttentionPattern(GuidedPattern):
    """What the class token of a ViT attends to most, or least (AttMask, arXiv 2203.12719).

    Hiding what is attended to most makes the task hard (AttMask-High); with ``shown`` some of it is left as a hint
    (AttMask-Hint); hiding the least keeps it (AttMask-Low).

    Args:
        ratio (float | None): See :class:`Pattern`. Defaults to None.
        scale (float | None): See :class:`Pattern`. Defaults to None.
        cell (int): Side of a cell in pixels. Defaults to 16.
        hide (str): 'most' or 'least'. Defaults to 'most'.
        shown (float): Share of all cells, drawn among those that would be masked, which are left as a hint; as many
            that are attended to next are masked in their place. Defaults to 0.
        base (int | None): See :class:`RankedPattern`. Defaults to None.

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


class ActivationPattern(GuidedPattern):
    """What speaks most, or least, for the class that a CNN predicts: class activation maps (arXiv 1512.04150).

    Args:
        ratio (float | None): See :class:`Pattern`. Defaults to None.
        scale (float | None): See :class:`Pattern`. Defaults to None.
        cell (int): Side of a cell in pixels. Defaults to 16.
        hide (str): 'most' or 'least'. Defaults to 'most'.
        base (int | None): See :class:`RankedPattern`. Defaults to None.

    Raises:
        ValueError: If ``hide`` is not known.
    """

    guide = 'activation'


class ObjectPattern(GuidedPattern):
    """Cells inside of objects first, or only outside of them where these suffice; among equal ones at random.

    Objects are the boxes of a detector's samples, or the labelled regions of a segmentor's. As semantics guide the
    masks of SemMAE (arXiv 2206.10207), labels do here.

    Args:
        ratio (float | None): See :class:`Pattern`. Defaults to None.
        scale (float | None): See :class:`Pattern`. Defaults to None.
        cell (int): Side of a cell in pixels. Defaults to 16.
        hide (str): 'inside', by how much of a cell objects cover, the most first; or 'outside', the least first.
            Defaults to 'inside'.
        classes (Sequence[int] | None): Labels that count. None is all. Defaults to None.
        base (int | None): See :class:`RankedPattern`. Defaults to None.

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


def guided(pattern: Pattern | MixturePattern) -> list[GuidedPattern]:
    """List the guided patterns of a pattern: itself, or those of a mixture."""
    parts = pattern.patterns if isinstance(pattern, MixturePattern) else [pattern]
    return [part for part in parts if isinstance(part, GuidedPattern)]
