# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masking one image in numpy: the draws and the algebra of :mod:`mmmaskany.masking`, at the price of one sample.

On tensors, a draw takes some twenty small operations, which a batch shares. For a single image they would cost more
than copying its pixels, so the common patterns are drawn here in plain numbers, from the same random numbers and to
the same result as :meth:`Pattern.cells` (random cells of several sizes: to one that is as likely); any other pattern is
drawn by that method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from mmmaskany.masking import GridPattern, PatchPattern, Pattern, RandomPattern
from mmmaskany.masking.patterns import Layout


class Rectangles(NamedTuple):
    """The masked rectangles of one image, all of one size, in pixels.

    Args:
        corners (tuple[int, int] | tuple[range, range] | np.ndarray): Where they begin: row and column of a single
            one; the n rows and m columns of rectangles at regular distances; of any others the flat index
            ``row * image width + column``, ``(n, m)``. Their canvas has n rows and m columns of rectangles.
        height (int): Height of one.
        width (int): Width of one.
    """

    corners: tuple[int, int] | tuple[range, range] | np.ndarray
    height: int
    width: int


def draw_rectangles(pattern: Pattern, height: int, width: int) -> Rectangles:
    """Draw what a pattern masks in one image, with the global random numbers of torch.

    Args:
        pattern (Pattern): The pattern; a mixture has to ``pick()`` first.
        height (int): Image height in pixels.
        width (int): Image width in pixels.

    Returns:
        Rectangles: The masked rectangles. Those of a pattern without ``scale``, which has no canvas, lie in a row.

    Raises:
        ValueError: If the image is too small for the cells.
    """
    return _prepare(pattern, height, width)()


@lru_cache(maxsize=32)
def _prepare(pattern: Pattern, height: int, width: int) -> Callable[[], Rectangles]:
    """Do once for an image size what is not random, and return the draw."""
    # By the very type: a subclass may place its cells in another way.
    prepare = {PatchPattern: _patch, GridPattern: _grid, RandomPattern: _random}.get(type(pattern))
    if prepare is None or pattern.scale is None:
        return lambda: _any(pattern, height, width)
    layouts = pattern.layouts(height // pattern.base, width // pattern.base)
    draws = [prepare(layout, pattern.base, width) for layout in layouts]
    return draws[0] if len(draws) == 1 else lambda: draws[int(torch.rand(()).item() * len(draws))]()


def _patch(layout: Layout, base: int, image_width: int) -> Callable[[], Rectangles]:
    height, width = layout.height * base, layout.width * base
    tops, lefts = layout.grid_rows - layout.height + 1, layout.grid_cols - layout.width + 1
    chance = torch.empty(2)

    def draw() -> Rectangles:
        y, x = chance.uniform_().tolist()
        return Rectangles((int(y * tops) * base, int(x * lefts) * base), height, width)

    return draw


def _grid(layout: Layout, base: int, image_width: int) -> Callable[[], Rectangles]:
    height, width = layout.height * base, layout.width * base
    grid_rows, grid_cols, n, m = layout[2:6]
    regular = grid_rows % n == 0 and grid_cols % m == 0
    row, col = np.arange(n)[:, None] * grid_rows, np.arange(m) * grid_cols
    chance = torch.empty(2)

    def draw() -> Rectangles:
        y, x = chance.uniform_().tolist()
        y, x = int(y * grid_rows), int(x * grid_cols)
        if regular:
            rows = range(y // n * height, grid_rows * height, grid_rows // n * height)
            cols = range(x // m * width, grid_cols * width, grid_cols // m * width)
            return Rectangles((rows, cols), height, width)
        return Rectangles((row + y) // n * (height * image_width) + (col + x) // m * width, height, width)

    return draw


def _random(layout: Layout, base: int, image_width: int) -> Callable[[], Rectangles]:
    height, width = layout.height * base, layout.width * base
    grid_rows, grid_cols, n, m, count = layout[2:]
    corners = np.arange(grid_rows)[:, None] * (height * image_width) + np.arange(grid_cols) * width
    corners = corners.ravel()
    chance = torch.empty(len(corners))
    scores = chance.numpy()  # the same memory

    def draw() -> Rectangles:
        chance.uniform_()
        last = np.sort(scores)[count - 1]
        chosen = (scores <= last).nonzero()[0][:count]  # two scores may be the same
        return Rectangles(corners[chosen].reshape(n, m), height, width)

    return draw


def _any(pattern: Pattern, height: int, width: int) -> Rectangles:
    cells, base = pattern.cells(1, height, width), pattern.base
    count = int(cells.count)
    shape = (1, count) if pattern.scale is None else (int(cells.rows), int(cells.cols))
    corners = (cells.top * width + cells.left)[0, :count] * base
    return Rectangles(corners.numpy().reshape(shape), int(cells.height) * base, int(cells.width) * base)


def split_image(
    image: np.ndarray, rectangles: Rectangles, fill: float | Sequence[float] = 0, recompose: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mask an image and stitch together what was masked.

    In a row-major image each row of a rectangle is one run of bytes, so the rectangles are moved run by run: those
    at regular distances through a view with strides, any others by one index into an array of overlapping runs, one
    of which begins at each pixel. Either works for any size of image.

    Args:
        image (np.ndarray): ``(H, W, C)`` or ``(H, W)``, any dtype; never modified.
        rectangles (Rectangles): What to mask.
        fill (float | Sequence[float]): What stays there, a number or one per channel. Defaults to 0.
        recompose (bool): Whether to make the canvas. Defaults to True.

    Returns:
        tuple[np.ndarray, np.ndarray | None]: The visible image and the canvas, or None in its place. The canvas of
        a single rectangle is a read-only view of the image: the copy is left to who resizes or packs it.
    """
    corners, height, width = rectangles
    visible, canvas, run = image.copy(), None, fill
    single = isinstance(corners, tuple) and isinstance(corners[0], int)
    if not (single and isinstance(fill, (int, float))):  # values per channel are quick to lay down only in runs
        run = np.empty((width, *image.shape[2:]), image.dtype)
        run[...] = fill
    if single:
        place = slice(corners[0], corners[0] + height), slice(corners[1], corners[1] + width)
        if recompose:
            canvas = image[place]
            canvas.setflags(write=False)
        visible[place] = run
        return visible, canvas

    image = np.ascontiguousarray(image)
    row, pixel = image.strides[:2]
    run = run.reshape(-1).view(f'V{run.nbytes}').reshape(())
    if isinstance(corners, tuple):
        rows, cols = corners
        shape = n, _, m = len(rows), height, len(cols)
        offset, strides = rows.start * row + cols.start * pixel, (rows.step * row, row, cols.step * pixel)
        np.ndarray(shape, run.dtype, visible, offset, strides)[...] = run
        if recompose:
            canvas = np.ndarray(shape, run.dtype, image, offset, strides).copy()
    else:
        n, m = corners.shape
        shape, strides = (image.shape[0] * image.shape[1] - width + 1,), (pixel,)
        # First the top row of all rectangles, then the next one: long inner loops make the index.
        index = (np.arange(0, height * image.shape[1], image.shape[1])[:, None] + corners.ravel()).ravel()
        np.ndarray(shape, run.dtype, visible, 0, strides)[index] = run
        if recompose:
            canvas = np.ndarray(shape, run.dtype, image, 0, strides)[index]
            canvas = canvas.view(image.dtype).reshape(height, n, -1).transpose(1, 0, 2).copy()
    if recompose:
        canvas = canvas.view(image.dtype).reshape(n * height, m * width, *image.shape[2:])
    return visible, canvas
