# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Patterns that mask the cells of the highest scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..draw import Cells, on_cpu
from ..random_numbers import Numbers, rand
from .base import Layout, Pattern, SampleLayouts, largest_layout


class RankedPattern(Pattern):
    """Masks the cells of the highest scores; their canvas keeps the order of the image.

    As it is, it takes the scores with each draw: ``pattern.draw(..., scores=scores)`` of one number per cell, such as
    the attention that each gets. A subclass makes its own in :meth:`rank`, from nothing, images or scores, as its
    :attr:`needs` say::

        class DarkPattern(RankedPattern):
            needs = ('images',)

            def rank(self, batch, rows, cols, generator, device, images):
                return F.adaptive_avg_pool2d(-images.mean(1), (rows, cols))

    Which of equal scores are masked is random, so scores may as well be a mask: what it holds is masked first.

    Args:
        scale (float | None): See :class:`Pattern`. Defaults to None.
        ratio (float | None): See :class:`Pattern`. Defaults to None.
        cell (int | Sequence[int]): Side of a cell in pixels, or those to draw from. Defaults to 16.
        base (int | None): Side of a base cell in pixels. None is the largest up to 4 that divides every cell. Defaults
            to None.

    Raises:
        ValueError: If a pattern that needs images or scores has cells of several sizes.
    """

    needs: tuple[str, ...] = ('scores',)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if 'rank' in vars(cls) and 'scores' not in vars(cls) and cls.scores is not RankedPattern.scores:
            base = next(base for base in cls.__mro__ if 'scores' in vars(base))
            raise TypeError(
                f'{cls.__name__} must derive from RankedPattern itself to have a `rank`: {base.__name__} does without'
            )

    def __init__(
        self,
        scale: float | None = None,
        ratio: float | None = None,
        cell: int | Sequence[int] = 16,
        base: int | None = None,
    ) -> None:
        super().__init__(scale, ratio, cell, _base_of(cell) if base is None else base)
        if self.needs and len(self.cell) > 1:
            raise ValueError(
                f'{type(self).__name__}, which needs {" and ".join(self.needs)}, must have cells of one size, but got '
                f'cell={cell}'
            )

    def count_numbers(self, largest: Layout) -> int:
        return largest.grid_rows * largest.grid_cols

    def rank(
        self,
        batch: int,
        rows: int,
        cols: int,
        generator: Generator | None,
        device: torch.device | str | None,
        **data: Tensor,
    ) -> Tensor:
        """Return the scores of the own cells.

        Args:
            batch (int): Number of images.
            rows (int): Rows of own cells in an image.
            cols (int): Columns of own cells in an image.
            generator (Generator | None): Source of random numbers; None is the global one of the device.
            device (torch.device | str | None): Where the draw is made.
            **data (Tensor): What the pattern :attr:`needs`: ``images``, of which what the cells do not cover is cut
                off, ``(B, C, rows * cell, cols * cell)``, or ``scores`` of the shape of the output.

        Returns:
            Tensor: Their scores, ``(B, rows, cols)``; the highest are masked.
        """
        return data['scores']

    def scores(
        self, layout: SampleLayouts, largest: Layout, generator: Generator | Numbers | None, **data: Tensor
    ) -> Tensor:
        """Return what the own cells are chosen by, the lowest first: the order of :meth:`rank`, the other way round.

        A pattern whose scores follow from the layout of each sample has them here.

        Args:
            layout (SampleLayouts): What holds for each sample, as in :meth:`place`.
            largest (Layout): The maximum of each entry, as in :meth:`place`.
            generator (Generator | Numbers | None): Source of random numbers; None is the global one of the device.
            **data (Tensor): What the pattern :attr:`needs`.

        Returns:
            Tensor: ``(B, largest.grid_rows, largest.grid_cols)``; of equal ones the first in the image is chosen.
        """
        batch, rows, cols = shape = len(layout.count), largest.grid_rows, largest.grid_cols
        name, device = type(self).__name__, layout.count.device
        if 'images' in data:
            height, width = (number * self.cell[0] for number in shape[1:])
            data['images'] = data['images'][..., :height, :width]
        if 'scores' in data:
            _check_scores(data['scores'], shape, device, f'scores for the cells of {self.cell[0]} px of {name}')
        # Numbers are made for this very class alone, whose rank draws none.
        scores = self.rank(batch, rows, cols, cast(Generator | None, generator), device, **data)
        _check_scores(scores, shape, device, f'what rank of {name} returns')
        # On another device a look at the values would have to wait for it.
        if on_cpu(scores) and scores.isnan().any():
            raise ValueError(f'the scores of {name} must be numbers, but some are NaN')
        return -_without_ties(scores, generator)

    def _draw_cells(
        self,
        batch: int,
        height: int,
        width: int,
        generator: Generator | Numbers | None,
        device: torch.device | str | None,
        data: dict[str, Tensor],
    ) -> Cells:
        if not is_ranked(self):
            return super()._draw_cells(batch, height, width, generator, device, data)
        return ranked_cells([(self, generator, data)], (), batch, height, width, device)


def is_ranked(pattern: Pattern) -> TypeGuard[RankedPattern]:
    """Tell whether scores choose the cells; not where a subclass says in its own way where they lie."""
    kind = type(pattern)
    return isinstance(pattern, RankedPattern) and kind.cells is Pattern.cells and kind.place is Pattern.place


def ranked_cells(
    parts: Sequence[tuple[RankedPattern, Generator | Numbers | None, dict[str, Tensor]]],
    chosen: Sequence[Tensor],
    batch: int,
    height: int,
    width: int,
    device: torch.device | str | None,
) -> Cells:
    """Draw the own cells of ranked patterns by one selection for all of them.

    Args:
        parts (Sequence[tuple]): The patterns, each with its source of random numbers and what it needs.
        chosen (Sequence[Tensor]): Which samples each masks, bool ``(B,)``; none for one pattern, which masks all.
        batch (int): Number of images.
        height (int): Image height in pixels.
        width (int): Image width in pixels.
        device (torch.device | str | None): Where to draw.

    Returns:
        Cells: The rectangles of each sample by its own pattern; those of a sample that none masks mean nothing.
    """
    layouts_of = [pattern.layouts(height // pattern.base, width // pattern.base) for pattern, *_ in parts]
    layouts = [layout for several in layouts_of for layout in several]
    largest = largest_layout(layouts)
    drawn = []
    for (pattern, generator, data), own_layouts in zip(parts, layouts_of, strict=True):
        layout = pattern._draw_layout(own_layouts, batch, generator, device)
        drawn.append((pattern.scores(layout, largest_layout(own_layouts), generator, **data), layout))
    if len(drawn) == 1 and on_cpu(drawn[0][0]):
        ((scores, layout),) = drawn
        selected, grid = _select_by_layout(scores, layout, layouts), None
    else:
        for index, (own, own_layout) in enumerate(drawn):
            own = own.flatten(1) if len(set(layouts)) == 1 else _fill_up(own, own_layout, layouts)
            if index:
                mine = chosen[index]
                own = torch.where(mine.view(-1, 1), own, scores)
                own_layout = SampleLayouts(*(torch.where(mine, a, b) for a, b in zip(own_layout, layout, strict=True)))
            scores, layout = own, own_layout
        selected, grid = _select(scores, largest)
    top = selected // largest.grid_cols * layout.height.view(-1, 1)
    left = selected % largest.grid_cols * layout.width.view(-1, 1)
    return Cells(top, left, layout.height, layout.width, layout.rows, layout.cols, layout.count, grid)


def _select(scores: Tensor, largest: Layout) -> tuple[Tensor, Tensor]:
    """Select the cells of the lowest scores in one go, without looking at any; of equal ones the first in the image.

    Args:
        scores (Tensor): The scores, lined up in the largest grid, see :func:`_fill_up`.
        largest (Layout): The maximum of each entry.

    Returns:
        tuple[Tensor, Tensor]: Their indices in the largest grid, ascending, long ``(B, largest.count)``, and which
        they are, bool ``(B, largest.grid_rows, largest.grid_cols)``.
    """
    ordered, order = scores.sort(dim=1, stable=True)
    lowest, last = ordered[:, largest.count - 1, None], order[:, largest.count - 1, None]
    place = torch.arange(scores.shape[1], device=scores.device)
    grid = (scores < lowest) | (scores == lowest) & (place <= last)
    grid = grid[:, : largest.grid_rows * largest.grid_cols].unflatten(1, (largest.grid_rows, largest.grid_cols))
    return order[:, : largest.count].sort(1).values, grid


def _select_by_layout(scores: Tensor, layout: SampleLayouts, layouts: list[Layout]) -> Tensor:
    """Do what :func:`_select` does, on a CPU, where many small selections take less time than one of the largest grid.

    Args:
        scores (Tensor): The scores, ``(B, rows, cols)`` of the largest grid.
        layout (SampleLayouts): What holds for each sample.
        layouts (list[Layout]): All that may hold.

    Returns:
        Tensor: The indices of the selected in the largest grid, long ``(B, largest.count)``.
    """
    largest = largest_layout(layouts)
    selected = torch.zeros(len(scores), largest.count, dtype=torch.long)
    for own in dict.fromkeys(layouts):
        mine: slice | Tensor = slice(None)
        if len(layouts) > 1:
            mine = ((layout.height == own.height) & (layout.width == own.width)).nonzero()[:, 0]
        part = scores[mine, : own.grid_rows, : own.grid_cols].flatten(1)
        if not len(part):
            continue
        lowest = part.kthvalue(own.count, 1, keepdim=True).values
        chosen = part <= lowest
        count = int(chosen.sum())
        if count < len(part) * own.count:
            raise ValueError('the scores of cells must be numbers, but some are NaN')
        if count > len(part) * own.count:  # some are alike
            equal = part == lowest
            chosen &= ~equal | (equal.cumsum(1) <= own.count - (part < lowest).sum(1, keepdim=True))
        found = chosen.nonzero()[:, 1].view(len(part), own.count)
        selected[mine, : own.count] = found // own.grid_cols * largest.grid_cols + found % own.grid_cols
    return selected


def _fill_up(scores: Tensor, layout: SampleLayouts, layouts: list[Layout]) -> Tensor:
    """Line scores up in the largest grid, so that as many cells are selected in each sample, whatever its layout.

    What a smaller count lacks are cells behind all others, which are not there.

    Args:
        scores (Tensor): The scores, ``(B, rows, cols)``.
        layout (SampleLayouts): What holds for each sample.
        layouts (list[Layout]): All that may hold.

    Returns:
        Tensor: ``(B, grid_rows * grid_cols + N)`` of the largest grid and at most N cells that are not there.
    """
    largest = largest_layout(layouts)
    rows, cols, missing = largest.grid_rows, largest.grid_cols, largest.count - min(v.count for v in layouts)
    place = torch.arange(rows * cols + missing, device=scores.device)
    grid_rows, grid_cols, count = (v.view(-1, 1) for v in (layout.grid_rows, layout.grid_cols, layout.count))
    inside = (place // cols < grid_rows) & (place % cols < grid_cols)
    behind = (place >= rows * cols) & (place < rows * cols + largest.count - count)
    scores = F.pad(scores, (0, cols - scores.shape[2], 0, rows - scores.shape[1])).flatten(1)
    return F.pad(scores, (0, missing)).where(inside, torch.where(behind, -math.inf, math.inf))


def _base_of(cell: int | Sequence[int]) -> int:
    """Return the largest base up to 4 px that divides cells; 1 where they are none, which is said elsewhere."""
    sizes = cell if isinstance(cell, Sequence) else [cell]
    return next((base for base in (4, 3, 2) if all(isinstance(size, int) and size % base == 0 for size in sizes)), 1)


def _check_scores(scores: object, shape: tuple[int, int, int], device: torch.device, what: str) -> None:
    """Raise an error unless scores are one number per cell."""
    if not isinstance(scores, Tensor):
        raise TypeError(f'{what} must be a tensor, but got {type(scores).__name__}')
    if tuple(scores.shape) != shape:
        raise ValueError(
            f'{what} must be of shape {tuple(shape)}, one for each cell of each image, but got {tuple(scores.shape)}'
        )
    if scores.device != device:
        raise ValueError(f'{what} must be on the device of the images, {device}, but got {scores.device}')


def _without_ties(scores: Tensor, generator: Generator | Numbers | None) -> Tensor:
    """Return the place of each score in the ascending order of its sample; that of equal ones is drawn."""
    flat = scores.detach().flatten(1)
    shuffled = rand(*flat.shape, generator=generator, device=flat.device).argsort(dim=1)
    order = shuffled.gather(1, flat.gather(1, shuffled).argsort(dim=1, stable=True))
    places = torch.arange(flat.shape[1], device=flat.device, dtype=torch.float).expand_as(order)
    return torch.empty_like(places, memory_format=torch.contiguous_format).scatter_(1, order, places).view_as(scores)
