# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Patterns: where to mask.

A pattern masks equal rectangles, its own cells. What is new about one is said in one method, of which there are three
to choose from:

- :meth:`RankedPattern.rank` gives every cell a score, and the highest are masked;
- :meth:`Pattern.place` says where the cells lie;
- :meth:`Pattern.draw` makes any mask, see :meth:`Draw.from_mask`.

Counting the cells, refining them to the base grid and packing them on the canvas is the same for the first two.
A pattern that looks at the images, or at scores from elsewhere, asks for them by its :attr:`Pattern.needs`; whatever
of the three methods it has is then given them.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .draw import Cells, Draw, on_host, traced
from .numbers import Numbers, rand, uniform_index

#: What a pattern may ask for.
DATA = ('images', 'scores')


class Layout(NamedTuple):
    """What a pattern makes of one image size with one of its cell sizes."""

    height: int  # of an own cell, in base cells
    width: int
    grid_rows: int  # own cells in the image
    grid_cols: int
    rows: int  # own cells on the canvas
    cols: int
    count: int  # type: ignore[assignment]  # own cells that are masked; nobody counts the entries of this tuple


class SampleLayouts(NamedTuple):
    """The :class:`Layout` of each sample, by its entries, long ``(B,)``."""

    height: Tensor
    width: Tensor
    grid_rows: Tensor
    grid_cols: Tensor
    rows: Tensor
    cols: Tensor
    count: Tensor  # type: ignore[assignment]  # as above


class Pattern:
    """Base of the patterns.

    Args:
        scale (float | None): Side of the reused view as a share of the image's, in (0, 1). The canvas holds
            ``round(scale * rows) x round(scale * cols)`` of the pattern's own cells and exactly these are masked:
            0.5 masks a quarter of the image. Defaults to None.
        ratio (float | None): Share of the own cells that is masked, in (0, 1), for use without the reused view;
            exactly ``round(ratio * cells)`` of them. Give either ``scale`` or ``ratio``. Defaults to None.
        cell (int | Sequence[int]): Side of an own cell in pixels, a multiple of ``base``; of several, one is drawn
            per sample. Defaults to 16.
        base (int): Side of a cell of the base grid in pixels; 4 suits 224 px, 1 suits 32 px. Defaults to 4.

    Raises:
        TypeError: If a size is not a whole number.
        ValueError: If not exactly one of ``scale`` and ``ratio`` is given, one is outside (0, 1), or ``cell`` is not
            a positive multiple of ``base``.
    """

    #: What the pattern asks for, of 'images' and 'scores': its methods get them as arguments of these names, images as
    #: ``(B, C, H, W)`` and scores as :class:`RankedPattern` takes them.
    needs: tuple[str, ...] = ()

    def __init__(
        self,
        scale: float | None = None,
        ratio: float | None = None,
        cell: int | Sequence[int] = 16,
        base: int = 4,
    ) -> None:
        share = scale if ratio is None else ratio
        if share is None or None not in (scale, ratio):
            raise ValueError(f'give either `scale` or `ratio`, but got scale={scale} and ratio={ratio}')
        self.scale = scale
        self.ratio = ratio
        self.share = share
        sizes = tuple(cell) if isinstance(cell, Sequence) else (cell,)
        for size in (base, *sizes):
            if not isinstance(size, int):
                raise TypeError(f'cell and base must be whole numbers of pixels, but got {size!r}')
        if base < 1 or not sizes or any(size < 1 or size % base for size in sizes):
            raise ValueError(f'cell sizes must be positive multiples of base={base} px, but got {cell}')
        self.cell = sizes
        self.base = base
        self._tables: dict[tuple, Tensor] = {}

    def __repr__(self) -> str:
        share = f'ratio={self.ratio}' if self.scale is None else f'scale={self.scale}'
        return f'{type(self).__name__}({share}, cell={list(self.cell)}, base={self.base})'

    @property
    def name(self) -> str:
        """str: What pictures and logs call it: 'grid' for a :class:`GridPattern`."""
        return type(self).__name__.removesuffix('Pattern').lower()

    @property
    def names(self) -> list[str]:
        """list[str]: The names of the patterns that may mask a sample, as of a mixture: this one alone."""
        return [self.name]

    @property
    def share(self) -> float:
        """The scale, or the ratio of a pattern that has one instead. It may be set, for the draws that follow."""
        share = self.ratio if self.scale is None else self.scale
        assert share is not None  # the constructor refuses a pattern without either
        return share

    @share.setter
    def share(self, value: float) -> None:
        name = 'ratio' if self.scale is None else 'scale'
        if not 0 < value < 1:
            raise ValueError(f'{name} must be in (0, 1), but got {value}')
        setattr(self, name, value)

    # ------------------------------------------------------------------ what a subclass says

    def cell_sizes(self) -> list[tuple[int, int]]:
        """Return the sizes (height, width) that an own cell may have, in base cells."""
        return [(size // self.base, size // self.base) for size in self.cell]

    #: Called with the largest layout, returns how many random numbers :meth:`place` takes for an image. Those of a draw
    #: are then made in one call, and ``generator`` is :class:`.numbers.Numbers`. Only what a class itself says counts:
    #: one that is derived from it may take others. None means that the generator draws them as they are needed.
    count_numbers: ClassVar[Callable[..., int] | None] = None

    def place(
        self, layout: SampleLayouts, largest: Layout, generator: Generator | Numbers | None, **data: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draw where the own cells lie.

        Args:
            layout (SampleLayouts): What holds for each sample.
            largest (Layout): The maximum of each entry over the cell sizes.
            generator (Generator | Numbers | None): Source of random numbers; None is the global one of the device.
            **data (Tensor): What the pattern :attr:`needs`.

        Returns:
            tuple[Tensor, Tensor]: First base row and column of each own cell in canvas order, long
            ``(B, largest.count)``.
        """
        raise NotImplementedError(f'{type(self).__name__} must define `place`, or `draw`')

    # ------------------------------------------------------------------ what is the same for all

    @property
    def in_cells(self) -> bool:
        """Whether :meth:`cells` tells all that is drawn; not where a subclass has a :meth:`draw` of its own."""
        return type(self).draw is Pattern.draw

    def _canvas_cells(self, rows: int, cols: int) -> tuple[int, int]:
        """Return the rows and columns of own cells on the canvas, of those in the image."""
        return _round(self.share * rows), _round(self.share * cols)

    def _fits(self, count: int, rows: int, cols: int, height: int, width: int) -> bool:
        """Return whether all own cells may be masked, because base cells beside them stay."""
        return False

    def layouts(self, rows: int, cols: int) -> list[Layout]:
        """Lay the pattern out on a base grid of ``rows x cols``, once for each cell size."""
        layouts = []
        for height, width in self.cell_sizes():
            grid = rows // height, cols // width
            if self.ratio is None:
                n, m = self._canvas_cells(*grid)
                count = n * m
            else:
                count = _round(self.ratio * grid[0] * grid[1])
                n = max(1, min(grid[0], math.ceil(math.sqrt(self.ratio) * grid[0])))
                m = max(1, math.ceil(count / n))
                n = math.ceil(count / m)  # no row of the canvas is empty
            if not 0 < count < grid[0] * grid[1] and not self._fits(count, rows, cols, height, width):
                share = f'scale={self.scale}' if self.ratio is None else f'ratio={self.ratio}'
                raise ValueError(
                    f'{type(self).__name__} with {share} must mask at least one cell and leave one, but the '
                    f'{rows * self.base} x {cols * self.base} px that base cells of {self.base} px cover hold '
                    f'{grid[0]} x {grid[1]} cells of {height * self.base} x {width * self.base} px, of which it would '
                    f'mask {count}: take a larger image or smaller cells'
                )
            layouts.append(Layout(height, width, *grid, n, m, count))
        return layouts

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the canvas in base cells for images of ``height x width`` px."""
        layouts = self.layouts(height // self.base, width // self.base)
        return max(v.rows * v.height for v in layouts), max(v.cols * v.width for v in layouts)

    def numbers(self, height: int, width: int) -> int | None:
        """Return how many random numbers the draw of one image of ``height x width`` px takes.

        None is a pattern of others, which draws them by the generator as it needs them.
        """
        count_numbers = vars(type(self)).get('count_numbers')
        if count_numbers is None or not self.in_cells:
            return None
        layouts = self.layouts(height // self.base, width // self.base)
        return count_numbers(self, _largest(layouts)) + (len(layouts) > 1)

    def masked_cells(self, height: int, width: int) -> int:
        """Return how many base cells are masked in each image of ``height x width`` px.

        Raises:
            ValueError: If cells of several sizes mask more or less, or a subclass that draws in its own way does not
                say it.
        """
        if not self.in_cells:
            raise ValueError(
                f'as many cells must be masked in every image, but how many {type(self).__name__} masks is not known: '
                'if it is always the same number, its method `masked_cells` must tell'
            )
        counts = {v.count * v.height * v.width for v in self.layouts(height // self.base, width // self.base)}
        return _only(counts, self)

    def cells(
        self,
        batch: int,
        height: int,
        width: int,
        generator: Generator | Numbers | None = None,
        device: torch.device | str | None = None,
        images: Tensor | None = None,
        scores: Tensor | None = None,
    ) -> Cells:
        """Draw the own cells of a batch, in canvas order.

        Args:
            batch (int): Number of images.
            height (int): Image height in pixels.
            width (int): Image width in pixels.
            generator (Generator | Numbers | None): Source of random numbers; None is the global one of the device.
            device (torch.device | str | None): Where to draw; None is the generator's device, or that of what the
                pattern needs, or the CPU.
            images (Tensor | None): The images, for a pattern that :attr:`needs` them. Defaults to None.
            scores (Tensor | None): The scores, for a pattern that :attr:`needs` them. Defaults to None.

        Returns:
            Cells: The rectangles of each sample.

        Raises:
            ValueError: If the image is too small for the cells, or what the pattern needs is not given or does not
                suit the images.
        """
        data = asked(self, images, scores)
        device = _device(generator, device, data)
        generator = draw_numbers(self, batch, height, width, generator, device)
        return self._draw_cells(batch, height, width, generator, device, data)

    def _draw_cells(
        self,
        batch: int,
        height: int,
        width: int,
        generator: Generator | Numbers | None,
        device: torch.device | str | None,
        data: dict[str, Tensor],
    ) -> Cells:
        """Draw the cells where :meth:`place` says; arguments as those of :meth:`cells`, all of them made ready."""
        layouts = self.layouts(height // self.base, width // self.base)
        layout = self._draw_layout(layouts, batch, generator, device)
        top, left = self.place(layout, _largest(layouts), generator, **data)
        return Cells(top, left, layout.height, layout.width, layout.rows, layout.cols, layout.count)

    def _draw_layout(
        self,
        layouts: list[Layout],
        batch: int,
        generator: Generator | Numbers | None,
        device: torch.device | str | None,
    ) -> SampleLayouts:
        """Draw the layout of each sample, without waiting for the device."""
        if len(layouts) == 1:
            choice = torch.zeros(batch, dtype=torch.long, device=device)
        else:
            choice = uniform_index(rand(batch, generator=generator, device=device), len(layouts))
        if torch.compiler.is_compiling():  # plain numbers are fused into the graph; the cache would only guard it
            entries = zip(*layouts, strict=True)
            return SampleLayouts(*(_sum((choice == k) * value for k, value in enumerate(values)) for values in entries))
        table = self._on(choice.device, tuple(layouts), lambda: torch.tensor(layouts))
        return SampleLayouts(*table[choice].unbind(1))

    def _on(self, device: torch.device, key: object, make: Callable[[], Tensor]) -> Tensor:
        """Return a small tensor that is copied to a device once."""
        if (key, device) in self._tables:
            return self._tables[key, device]
        table = make().to(device)
        if not traced(table):
            self._tables[key, device] = table
        return table

    def draw(
        self,
        batch: int,
        height: int,
        width: int,
        generator: Generator | Numbers | None = None,
        device: torch.device | str | None = None,
        images: Tensor | None = None,
        scores: Tensor | None = None,
    ) -> Draw:
        """Draw which cells of a batch are masked; arguments and errors as in :meth:`cells`.

        Returns:
            Draw: Mask, masked samples and, for a pattern with ``scale``, the source map.
        """
        cells = self.cells(batch, height, width, generator, device, **asked(self, images, scores))
        rows, cols = height // self.base, width // self.base
        return cells.draw(self.canvas(height, width), rows, cols, self.base, reuse=self.scale is not None)

    def pick(self, generator: Generator | None = None) -> Pattern | None:
        """Draw which pattern masks one sample: this one, whatever the generator."""
        return self


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
        if on_host(scores) and scores.isnan().any():
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
        if not _is_ranked(self):
            return super()._draw_cells(batch, height, width, generator, device, data)
        return _ranked_cells([(self, generator, data)], (), batch, height, width, device)


class RandomPattern(RankedPattern):
    """Cells anywhere, all equally likely (MaskAnyNet's random; SimMIM's and MAE's masks).

    Args:
        scale (float | None): See :class:`Pattern`. Defaults to None.
        ratio (float | None): See :class:`Pattern`. Defaults to None.
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


class BlockPattern(RankedPattern):
    """Overlapping rectangles of cells, as in BEiT (arXiv 2106.08254, Algorithm 1), with an exact count.

    Rectangles of a random place, size and aspect are masked one after the other, the last one from its centre
    outwards, until the count is reached.

    Args:
        scale (float | None): See :class:`Pattern`. Defaults to None.
        ratio (float | None): See :class:`Pattern`. Defaults to None.
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


class NoisePattern(RankedPattern):
    """The highest cells of filtered noise, as in ColorMAE (arXiv 2407.13036): data-independent, but not uniform.

    White noise, one number per own cell, is filtered by Gaussians; how large and how regular the masked regions are
    follows from the frequencies that are left:

    ========  =========  =====================================  ==========================================
    color     filter     of the noise W, blurred by G           masked regions
    ========  =========  =====================================  ==========================================
    red       low-pass   ``G(sigma) W``                         large and smooth
    blue      high-pass  ``W - G(sigma) W``                     single cells, evenly spread
    green     band-pass  ``G(sigma[0]) W - G(sigma[1]) W``      clusters of one size, at regular distances
    purple    band-stop  ``W - (G(sigma[0]) - G(sigma[1])) W``  single cells, and some large regions
    ========  =========  =====================================  ==========================================

    Args:
        scale (float | None): See :class:`Pattern`. Defaults to None.
        ratio (float | None): See :class:`Pattern`. Defaults to None.
        cell (int | Sequence[int]): Side of a cell in pixels, or those to draw from. Defaults to 16.
        color (str): 'red', 'blue', 'green' or 'purple'. Defaults to 'green', the paper's best.
        sigma (float | tuple[float, float] | None): Standard deviation of the Gaussian in own cells; for green and
            purple of both, the narrow one first. None is :attr:`sigmas`. Defaults to None.
        base (int): Side of a base cell in pixels. Defaults to 4.

    Raises:
        ValueError: If the color is not known, or ``sigma`` is not one positive number for red and blue, or an
            increasing pair of them for green and purple.
    """

    needs = ()
    #: The standard deviations of each color where none are given, in own cells.
    sigmas = {'red': 1.0, 'blue': 1.0, 'green': (0.5, 2.0), 'purple': (0.5, 2.0)}

    def __init__(
        self,
        scale: float | None = None,
        ratio: float | None = None,
        cell: int | Sequence[int] = 16,
        color: str = 'green',
        sigma: float | tuple[float, float] | None = None,
        base: int = 4,
    ) -> None:
        super().__init__(scale, ratio, cell, base)
        if color not in self.sigmas:
            raise ValueError(f'color must be one of {list(self.sigmas)}, but got {color!r}')
        usual = self.sigmas[color]
        given = usual if sigma is None else sigma
        sigmas = tuple(given) if isinstance(given, Sequence) else (given,)
        wanted = len(usual) if isinstance(usual, tuple) else 1
        if len(sigmas) != wanted or sigmas[0] <= 0 or list(sigmas) != sorted(set(sigmas)):
            what = 'a positive number' if wanted == 1 else 'an increasing pair of positive numbers'
            raise ValueError(f'sigma must be {what} for {color} noise, but got {sigma}')
        self.color = color
        self.sigma = sigmas

    @property
    def name(self) -> str:
        """Such as 'green noise'."""
        return f'{self.color} noise'

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, color={self.color!r}, sigma={list(self.sigma)})'

    @property
    def margin(self) -> int:
        """int: How far the filter reaches, in own cells: three standard deviations."""
        return math.ceil(3 * self.sigma[-1])

    def filter(self) -> Tensor:
        """Return what the noise is convolved with, ``(2 * margin + 1, 2 * margin + 1)``, with the lowest the best."""
        size = 2 * self.margin + 1
        frequency = torch.fft.fftfreq(size).view(-1, 1).square() + torch.fft.rfftfreq(size).square()
        low, *wide = (torch.exp(-2 * (math.pi * sigma) ** 2 * frequency) for sigma in self.sigma)
        passed = low - wide[0] if wide else low
        passed = 1 - passed if self.color in ('blue', 'purple') else passed
        return -torch.fft.fftshift(torch.fft.irfft2(passed, s=(size, size)))

    def count_numbers(self, largest: Layout) -> int:
        return (largest.grid_rows + 2 * self.margin) * (largest.grid_cols + 2 * self.margin)

    def scores(
        self, layout: SampleLayouts, largest: Layout, generator: Generator | Numbers | None, **data: Tensor
    ) -> Tensor:
        batch, device = len(layout.count), layout.count.device
        shape = largest.grid_rows + 2 * self.margin, largest.grid_cols + 2 * self.margin
        noise = rand(batch, 1, *shape, generator=generator, device=device)
        # In half precision many scores would be the same.
        with contextlib.nullcontext() if device.type == 'meta' else torch.autocast(device.type, enabled=False):
            return F.conv2d(noise, self._on(device, 'filter', self.filter)[None, None])[:, 0]


class MixturePattern:
    """Draws one of several patterns for each sample, or none.

    Args:
        patterns (Sequence[Pattern]): The patterns. They share ``base``, and either one ``scale`` or all have a
            ``ratio``.
        probs (Sequence[float]): Probability of each; what they leave to 1 is the share of unmasked samples, which
            see the whole image.

    Raises:
        TypeError: If one of the patterns is no pattern, or a mixture itself.
        ValueError: If the lengths differ, a probability is negative, they sum to more than 1, or the patterns do not
            share base and scale.
    """

    def __init__(self, patterns: Sequence[Pattern], probs: Sequence[float]) -> None:
        if not patterns:
            raise ValueError(f'give one probability per pattern, but got {len(patterns)} patterns and probs={probs}')
        for pattern in patterns:
            if not isinstance(pattern, Pattern):
                raise TypeError(f'the patterns of a mixture must be Patterns, but got {type(pattern).__name__}')
            check_pattern(pattern)
        for name in ('base', 'scale'):
            values = {getattr(pattern, name) for pattern in patterns}
            if len(values) > 1:
                raise ValueError(f'the patterns of a mixture must share one {name}, but got {values}')
        self.patterns = list(patterns)
        self.probs = probs
        self.base = patterns[0].base
        self.scale = patterns[0].scale

    def __repr__(self) -> str:
        return f'MixturePattern({self.patterns}, probs={self.probs})'

    @property
    def needs(self) -> tuple[str, ...]:
        """What its patterns ask for, see :attr:`Pattern.needs`."""
        return tuple(name for name in DATA if any(name in pattern.needs for pattern in self.patterns))

    @property
    def in_cells(self) -> bool:
        """Whether the cells of all patterns tell all that is drawn, see :attr:`Pattern.in_cells`."""
        return all(pattern.in_cells for pattern in self.patterns)

    @property
    def names(self) -> list[str]:
        """list[str]: The names of the patterns; of one kind the later ones are numbered: 'grid', 'grid 2'."""
        names = [pattern.name for pattern in self.patterns]
        counts = [names[: index + 1].count(name) for index, name in enumerate(names)]
        return [name if count == 1 else f'{name} {count}' for name, count in zip(names, counts, strict=True)]

    @property
    def probs(self) -> list[float]:
        """The probability of each pattern. They may be set, for the draws that follow; all 0 masks nothing."""
        return self._probs

    @probs.setter
    def probs(self, values: Sequence[float]) -> None:
        if len(values) != len(self.patterns):
            raise ValueError(
                f'give one probability per pattern, but got {len(self.patterns)} patterns and probs={list(values)}'
            )
        if not (all(prob >= 0 for prob in values) and sum(values) <= 1 + 1e-6):
            raise ValueError(f'probabilities must be >= 0 and sum to at most 1, but got {list(values)}')
        self._probs = [float(prob) for prob in values]
        self._bounds = [bound if bound < 1 - 1e-6 else 1.0 for bound in accumulate(self._probs)]

    @property
    def share(self) -> float | list[float]:
        """The one scale, or the ratios where the patterns have them; setting it sets that of every pattern."""
        return self.scale if self.scale is not None else [pattern.share for pattern in self.patterns]

    @share.setter
    def share(self, value: float) -> None:
        for pattern in self.patterns:
            pattern.share = value
        self.scale = self.patterns[0].scale

    def numbers(self, height: int, width: int) -> int | None:
        """Return how many random numbers the draw of one image takes; see :meth:`Pattern.numbers`."""
        numbers = [pattern.numbers(height, width) for pattern in self.patterns]
        known = [number for number in numbers if number is not None]
        # Each image is drawn by one of them, which takes the same.
        return 1 + max(known) if len(known) == len(numbers) else None

    def masked_cells(self, height: int, width: int) -> int:
        """Return how many base cells are masked in each image; see :meth:`Pattern.masked_cells`."""
        counts = {pattern.masked_cells(height, width) for pattern in self.patterns}
        return _only(counts if self._bounds[-1] == 1 else counts | {0}, self)

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the canvas in base cells for images of ``height x width`` px: the largest."""
        sizes = [pattern.canvas(height, width) for pattern in self.patterns]
        return max(rows for rows, _ in sizes), max(cols for _, cols in sizes)

    def pick(self, generator: Generator | None = None) -> Pattern | None:
        """Draw which pattern masks one sample; None leaves it unmasked."""
        chance = torch.rand((), generator=generator).item()
        return next(
            (p.pick(generator) for p, bound in zip(self.patterns, self._bounds, strict=True) if chance < bound),
            None,
        )

    def draw(
        self,
        batch: int,
        height: int,
        width: int,
        generator: Generator | Numbers | None = None,
        device: torch.device | str | None = None,
        images: Tensor | None = None,
        scores: Tensor | None = None,
    ) -> Draw:
        """Draw which cells of a batch are masked; arguments and errors as in :meth:`Pattern.draw`.

        Returns:
            Draw: Each sample has the mask and source map of its own pattern; a smaller canvas than the largest is
            padded with empty cells.
        """
        data = asked(self, images, scores)
        device = _device(generator, device, data)
        generator = draw_numbers(self, batch, height, width, generator, device)
        chance = rand(batch, generator=generator, device=device)
        # One comparison per pattern, on Python numbers: a tensor of bounds would have to be copied to the device.
        choice = _sum((chance >= bound).long() for bound in self._bounds)
        # All take the same numbers, of which those of one pattern count.
        parts = [
            (pattern, generator.rest() if isinstance(generator, Numbers) else generator, asked(pattern, **data))
            for pattern in self.patterns
        ]
        if not self.in_cells:
            draws = [pattern.draw(batch, height, width, numbers, device, **own) for pattern, numbers, own in parts]
            return Draw.choose([_check_draw(draw).refine(self.base, height, width) for draw in draws], choice)
        rows, cols = height // self.base, width // self.base
        canvas = self.canvas(height, width)
        source = choice.new_full((batch, *canvas), -1)
        alone = on_host(choice) and isinstance(generator, Numbers)  # then each pattern draws its own images alone
        together = {
            index: (pattern, numbers, own)
            for index, (pattern, numbers, own) in enumerate(parts)
            if not alone and _is_ranked(pattern)
        }
        for index, (pattern, numbers, own) in enumerate(parts):
            if alone:
                assert isinstance(numbers, Numbers)  # as the generator is
                mine = (choice == index).nonzero()[:, 0]
                own = {name: value[mine] for name, value in own.items()}
                cells = pattern.cells(len(mine), height, width, numbers.of(mine), device, **own)
                size = pattern.canvas(height, width)
                source[mine, : size[0], : size[1]] = cells.source(size, cols)
            elif index not in together:
                cells = pattern.cells(batch, height, width, numbers, device, **own)
                source = torch.where((choice == index).view(-1, 1, 1), cells.source(canvas, cols), source)
        if together:
            chosen = [choice == index for index in together]
            cells = _ranked_cells(list(together.values()), chosen, batch, height, width, device)
            any_of_them = functools.reduce(torch.logical_or, chosen).view(-1, 1, 1)
            source = torch.where(any_of_them, cells.source(canvas, cols), source)
        draw = Draw.from_source(source, rows, cols, self.base, reuse=self.scale is not None)
        return replace(draw, masked=choice < len(self.patterns), choice=choice)


def check_pattern(pattern: object, data: Sequence[str] = DATA) -> Pattern | MixturePattern:
    """Return a pattern as it is.

    Args:
        pattern (object): The pattern.
        data (Sequence[str]): What it may ask for where it is used, of 'images' and 'scores'. Defaults to both.

    Raises:
        TypeError: If it is no pattern, or one whose constructor did not call that of its base.
        ValueError: If it asks for what it is not given where it is used.
    """
    if not isinstance(pattern, (Pattern, MixturePattern)):
        raise TypeError(f'pattern must be a Pattern or MixturePattern, but got {type(pattern).__name__}')
    name = type(pattern).__name__
    if not all(hasattr(pattern, attribute) for attribute in ('scale', 'base')):
        raise TypeError(f'a Pattern must call super().__init__ in its constructor, but {name} does not')
    if not isinstance(pattern.needs, tuple) or not set(pattern.needs) <= set(DATA):
        raise ValueError(f'needs of {name} must be a tuple of names of {list(DATA)}, but got {pattern.needs!r}')
    lacking = [need for need in pattern.needs if need not in data]
    if lacking:
        raise ValueError(
            f'a pattern here must do with {" and ".join(data) or "no data"}, but {name} needs {" and ".join(lacking)}'
            + (': mask in the model instead, by `masking` of the backbone' if data else '')
        )
    return pattern


def draw_numbers(
    pattern: Pattern | MixturePattern,
    batch: int,
    height: int,
    width: int,
    generator: Generator | Numbers | None = None,
    device: torch.device | str | None = None,
) -> Generator | Numbers | None:
    """Make all random numbers of a draw in one call, where the pattern says how many it takes.

    Args:
        pattern (Pattern | MixturePattern): The pattern.
        batch (int): Number of images.
        height (int): Image height in pixels.
        width (int): Image width in pixels.
        generator (Generator | Numbers | None): Source of random numbers, or they themselves; None is the global one of
            the device. Defaults to None.
        device (torch.device | str | None): Where to draw. Defaults to None.

    Returns:
        Generator | Numbers | None: The numbers; the generator as it is for a pattern that draws them as it needs them.
    """
    count = None if isinstance(generator, Numbers) else pattern.numbers(height, width)
    return generator if count is None else Numbers(rand(batch, count, generator=generator, device=device))


def draw_masks(
    pattern: Pattern | MixturePattern, images: Tensor, generator: Generator | None = None, scores: Tensor | None = None
) -> Draw:
    """Draw what a pattern masks in images, on their device; it is given what it asks for.

    Args:
        pattern (Pattern | MixturePattern): The pattern.
        images (Tensor): The images, ``(B, C, H, W)``.
        generator (Generator | None): Source of random numbers; None is the global one of the device. Defaults to None.
        scores (Tensor | None): Scores for a pattern that asks for them, see :class:`RankedPattern`. Defaults to None.

    Returns:
        Draw: The draw, made for images of this number and size.

    Raises:
        TypeError: If the pattern returns no draw.
        ValueError: If it asks for scores and there are none, or returns a draw for others.
    """
    data = asked(pattern, images.detach(), scores)
    height, width = images.shape[-2:]
    draw = pattern.draw(len(images), height, width, generator, images.device, **data)
    _check_draw(draw).check(images)
    return draw


def asked(
    pattern: Pattern | MixturePattern, images: Tensor | None = None, scores: Tensor | None = None
) -> dict[str, Tensor]:
    """Return what a pattern asks for by its ``needs``.

    Args:
        pattern (Pattern | MixturePattern): The pattern.
        images (Tensor | None): The images, if there are any. Defaults to None.
        scores (Tensor | None): The scores, if there are any. Defaults to None.

    Returns:
        dict[str, Tensor]: The arguments.

    Raises:
        ValueError: If it asks for what there is not.
    """
    there = dict(images=images, scores=scores)
    data = {}
    for name in pattern.needs:
        value = there[name]
        if value is None:
            raise ValueError(
                f'{type(pattern).__name__} needs {name}, but was drawn without: call the masking with '
                f'`{name}`, or draw(..., {name}=...)'
            )
        data[name] = value
    return data


def _is_ranked(pattern: Pattern) -> TypeGuard[RankedPattern]:
    """Tell whether scores choose the cells; not where a subclass says in its own way where they lie."""
    kind = type(pattern)
    return isinstance(pattern, RankedPattern) and kind.cells is Pattern.cells and kind.place is Pattern.place


def _ranked_cells(
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
    largest = _largest(layouts)
    drawn = []
    for (pattern, generator, data), own_layouts in zip(parts, layouts_of, strict=True):
        layout = pattern._draw_layout(own_layouts, batch, generator, device)
        drawn.append((pattern.scores(layout, _largest(own_layouts), generator, **data), layout))
    if len(drawn) == 1 and on_host(drawn[0][0]):
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
    largest = _largest(layouts)
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
    largest = _largest(layouts)
    rows, cols, missing = largest.grid_rows, largest.grid_cols, largest.count - min(v.count for v in layouts)
    place = torch.arange(rows * cols + missing, device=scores.device)
    grid_rows, grid_cols, count = (v.view(-1, 1) for v in (layout.grid_rows, layout.grid_cols, layout.count))
    inside = (place // cols < grid_rows) & (place % cols < grid_cols)
    behind = (place >= rows * cols) & (place < rows * cols + largest.count - count)
    scores = F.pad(scores, (0, cols - scores.shape[2], 0, rows - scores.shape[1])).flatten(1)
    return F.pad(scores, (0, missing)).where(inside, torch.where(behind, -math.inf, math.inf))


def _check_draw(draw: object) -> Draw:
    if not isinstance(draw, Draw):
        raise TypeError(f'a pattern must draw a Draw, such as Draw.from_mask makes, but got {type(draw).__name__}')
    return draw


def _device(
    generator: Generator | Numbers | None, device: torch.device | str | None, data: dict[str, Tensor]
) -> torch.device | str | None:
    """Return where to draw."""
    if device is not None:
        return device
    if generator is not None:
        return generator.device
    return next((value.device for value in data.values()), None)


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


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)


def _largest(layouts: list[Layout]) -> Layout:
    """Return the maximum of each entry."""
    return Layout(*map(max, zip(*layouts, strict=True)))


def _only(counts: set[int], pattern: Pattern | MixturePattern) -> int:
    """Return the one number of masked cells."""
    if len(counts) > 1:
        raise ValueError(
            f'as many cells must be masked in every image, but {pattern} masks one of {sorted(counts)} base cells: '
            'take one cell size, and in a mixture one share and probabilities that sum to 1'
        )
    (count,) = counts
    return count


def _round(value: float) -> int:
    """Round half up: Python's round(2.5) is 2."""
    return math.floor(value + 0.5)
