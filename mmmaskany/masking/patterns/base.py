# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Patterns: where to mask.

A pattern masks equal rectangles, its own cells. What is new about one is said in one method, of which there are three
to choose from:

- :meth:`.RankedPattern.rank` gives every cell a score, and the highest are masked;
- :meth:`Pattern.place` says where the cells lie;
- :meth:`Pattern.draw` makes any mask, see :meth:`Draw.from_mask`.

Counting the cells, refining them to the base grid and packing them on the canvas is the same for the first two.
A pattern that looks at the images, or at scores from elsewhere, asks for them by its :attr:`Pattern.needs`; whatever
of the three methods it has is then given them.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from ..draw import Cells, Draw, traced
from ..random_numbers import Numbers, rand, uniform_index

if TYPE_CHECKING:
    from .mixture import MixturePattern

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
    #: ``(B, C, H, W)`` and scores as :class:`.RankedPattern` takes them.
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
        """str: What pictures and logs call it: 'grid' for a :class:`.GridPattern`."""
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
    #: are then made in one call, and ``generator`` is :class:`~.random_numbers.Numbers`. Only what a class
    #: itself says counts: one that is derived from it may take others. None means that the generator draws them as they
    #: are needed.
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
        return count_numbers(self, largest_layout(layouts)) + (len(layouts) > 1)

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
        return only_count(counts, self)

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
        device = device_of(generator, device, data)
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
        top, left = self.place(layout, largest_layout(layouts), generator, **data)
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
            return SampleLayouts(
                *(total((choice == k) * value for k, value in enumerate(values)) for values in entries)
            )
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
        scores (Tensor | None): Scores for a pattern that asks for them, see :class:`.RankedPattern`. Defaults to None.

    Returns:
        Draw: The draw, made for images of this number and size.

    Raises:
        TypeError: If the pattern returns no draw.
        ValueError: If it asks for scores and there are none, or returns a draw for others.
    """
    data = asked(pattern, images.detach(), scores)
    height, width = images.shape[-2:]
    draw = pattern.draw(len(images), height, width, generator, images.device, **data)
    check_draw(draw).check(images)
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


def check_draw(draw: object) -> Draw:
    if not isinstance(draw, Draw):
        raise TypeError(f'a pattern must draw a Draw, such as Draw.from_mask makes, but got {type(draw).__name__}')
    return draw


def device_of(
    generator: Generator | Numbers | None, device: torch.device | str | None, data: dict[str, Tensor]
) -> torch.device | str | None:
    """Return where to draw."""
    if device is not None:
        return device
    if generator is not None:
        return generator.device
    return next((value.device for value in data.values()), None)


def total(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)


def largest_layout(layouts: list[Layout]) -> Layout:
    """Return the maximum of each entry."""
    return Layout(*map(max, zip(*layouts, strict=True)))


def only_count(counts: set[int], pattern: Pattern | MixturePattern) -> int:
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
