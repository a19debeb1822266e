# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masking one image in numpy: the draws and the algebra of :mod:`mmmaskany.masking`, at the price of one sample.

On tensors, a draw takes some twenty small operations, which a batch shares. For a single image they would cost more
than copying its pixels, so the common patterns are drawn here in plain numbers, from the same random numbers and to
the same result as :meth:`Pattern.cells` (random cells of several sizes: to one that is as likely); any other pattern is
drawn by that method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from mmmaskany.masking import GridPattern, MixturePattern, PatchPattern, Pattern, RandomPattern, draw_masks
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


def mask_image(
    pattern: Pattern, image: np.ndarray, fill: float | Sequence[float] = 0, recompose: bool = True
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Mask an image by any pattern and stitch together what was masked, with the global random numbers of torch.

    Args:
        pattern (Pattern): The pattern; a mixture has to ``pick()`` first.
        image (np.ndarray): ``(H, W, C)`` or ``(H, W)``, any dtype; never modified.
        fill (float | Sequence[float]): See :func:`split_image`. Defaults to 0.
        recompose (bool): Whether to make the canvas. Defaults to True.

    Returns:
        tuple[np.ndarray, np.ndarray | None] | None: As of :func:`split_image`; None where nothing was masked.

    Raises:
        ValueError: If the image is too small for the cells, or a canvas is wanted of a draw that has none.
    """
    height, width = image.shape[:2]
    if pattern.in_cells:
        images = as_images(pattern, image) if pattern.needs else None
        return split_image(image, draw_rectangles(pattern, height, width, images), fill, recompose)
    draw = draw_masks(pattern, as_images(pattern, image))
    if not draw.masked[0]:
        return None
    base, cols = draw.base, draw.mask.shape[2]

    def corners(cells: Tensor) -> np.ndarray:
        return ((cells // cols * width + cells % cols) * base).numpy()

    masked = corners(draw.mask[0].flatten().nonzero().T)
    visible, canvas = split_image(image, Rectangles(masked, base, base), fill, recompose=False)
    if recompose:
        if draw.source is None:
            raise ValueError(
                f'the draw of {type(pattern).__name__} has no source map to make the reused view by: it must mask as '
                'many cells in every image, and as many as a scale would; or take reuse=False'
            )
        source = draw.source[0]
        _, canvas = split_image(image, Rectangles(corners(source.clamp(min=0)), base, base))
        canvas[(source < 0).numpy().repeat(base, 0).repeat(base, 1)] = 0
    return visible, canvas


def as_images(pattern: Pattern | MixturePattern, image: np.ndarray) -> Tensor:
    """Return an image as a batch for a pattern to look at; without channels for one that does not look."""
    if not pattern.needs:
        return torch.empty(1, 0, *image.shape[:2])
    return torch.from_numpy(np.atleast_3d(image).astype(np.float32)).permute(2, 0, 1)[None]


def draw_rectangles(pattern: Pattern, height: int, width: int, images: Tensor | None = None) -> Rectangles:
    """Draw what a pattern masks in one image, with the global random numbers of torch.

    Args:
        pattern (Pattern): The pattern, one that draws cells; a mixture has to ``pick()`` first.
        height (int): Image height in pixels.
        width (int): Image width in pixels.
        images (Tensor | None): The image, for a pattern that looks at it, see :func:`as_images`. Defaults to None.

    Returns:
        Rectangles: The masked rectangles. Those of a pattern without ``scale``, which has no canvas, lie in a row.

    Raises:
        ValueError: If the image is too small for the cells.
    """
    # By the very type: a subclass may place its cells in another way.
    prepare = {PatchPattern: _patch, GridPattern: _grid, RandomPattern: _random}.get(type(pattern))
    if prepare is _grid and pattern.phase == 'fixed':
        prepare = partial(_fixed_grid, stride=pattern.stride)
    if prepare is None or pattern.scale is None:
        return _any(pattern, height, width, images)
    prepared = _prepared.setdefault(pattern, {})
    # What the pattern is belongs to the key: a schedule, or anybody, may change it.
    key = height, width, pattern.scale, pattern.cell, pattern.base, getattr(pattern, 'phase', None)
    draw = prepared.get(key)
    if draw is None:
        if len(prepared) == 32:
            prepared.clear()
        draw = prepared[key] = _prepare(pattern, height, width, prepare)
    return draw()


#: What was prepared for each pattern, for as long as there is the pattern.
_prepared: WeakKeyDictionary[Pattern, dict[tuple, Callable[[], Rectangles]]] = WeakKeyDictionary()


def _prepare(pattern: Pattern, height: int, width: int, prepare: Callable) -> Callable[[], Rectangles]:
    """Do once for an image size what is not random, and return the draw."""
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


def _fixed_grid(layout: Layout, base: int, image_width: int, stride: int) -> Callable[[], Rectangles]:
    height, width = layout.height * base, layout.width * base
    rows, cols = (
        range(0, n * stride * side, stride * side) for n, side in ((layout.rows, height), (layout.cols, width))
    )
    return lambda: Rectangles((rows, cols), height, width)


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


def _any(pattern: Pattern, height: int, width: int, images: Tensor | None) -> Rectangles:
    data = {} if images is None else dict(images=images)
    cells, base = pattern.cells(1, height, width, **data), pattern.base
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
