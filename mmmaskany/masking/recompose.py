# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Recomposing: the masked cells of an image, stitched into a smaller image, and the exact inverse."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import Draw, on_host, packed_channels, select, to_pixels


def _gather_pixels(images: Tensor, cells: Tensor, cell_cols: int, base: int) -> Tensor:
    """Build an image of base cells of other images by one gather.

    Args:
        images (Tensor): ``(B, C, H, W)``, in any memory format, which the output keeps.
        cells (Tensor): Flat index of the base cell that stands at each place, long ``(B, rows, cols)``, no -1.
        cell_cols (int): Columns of the base grid that ``cells`` counts in.
        base (int): Side of a base cell in pixels.

    Returns:
        Tensor: ``(B, C, rows * base, cols * base)``.
    """
    batch, channels, height, _ = images.shape
    rows, cols = cells.shape[1:]
    # The images as one list of strips, each one pixel row of one cell: contiguous in memory, so quick to copy.
    packed = packed_channels(images)
    images = images[..., : cell_cols * base]
    strips = (images.permute(0, 2, 3, 1) if packed > 1 else images).reshape(-1, base * packed)
    corner = cells // cell_cols * (base * cell_cols) + cells % cell_cols
    below = cell_cols * torch.arange(base, device=images.device).view(-1, 1)
    strip = (corner[:, :, None] + below).flatten(1)
    planes = channels // packed
    first = torch.arange(batch * planes, device=images.device).view(batch, planes, 1) * (height * cell_cols)
    out = strips.index_select(0, (first + strip[:, None]).flatten())
    if packed > 1:
        return out.view(batch, rows * base, cols * base, channels).permute(0, 3, 1, 2)
    return out.view(batch, channels, rows * base, cols * base)


def recompose(images: Tensor, draw: Draw) -> Tensor:
    """Stitch the masked cells of each image together, row-major, into a smaller image.

    For a patch this is the crop, for a grid the thumbnail of the kept cells, for random cells their packed
    canvas (MaskAnyNet, arXiv 2511.12480, Figure 3).

    Args:
        images (Tensor): ``(B, C, H, W)``, any dtype and memory format; never modified.
        draw (Draw): A draw with a source map, for this batch and size.

    Returns:
        Tensor: The canvas, ``(B, C, canvas rows * base, canvas cols * base)`` in dtype, device and memory format
        of the images; 0 where it shows nothing, as in every sample that is not masked.

    Raises:
        ValueError: If the draw feeds no reused view, or was made for another batch or size.
    """
    if draw.source is None:
        raise ValueError(
            'the draw has no source map: give the pattern a `scale`, not a `ratio`, to reuse its cells; a mask of your '
            'own must mask as many cells in every image, and as many as a scale would'
        )
    draw.check(images)
    canvas = _gather_pixels(images, draw.source.clamp(min=0), draw.mask.shape[2], draw.base)
    empty = draw.source < 0
    if on_host(empty) and not empty.any():
        return canvas
    return select(to_pixels(empty, draw.base, packed_channels(images)), canvas.new_zeros(()), canvas)


def restore(visible: Tensor, reused: Tensor, draw: Draw) -> Tensor:
    """Put the pixels of the reused view back into the visible image: the exact inverse of masking.

    Args:
        visible (Tensor): The filled images, ``(B, C, H, W)``; never modified.
        reused (Tensor): The canvas as :func:`recompose` made it, not resized.
        draw (Draw): The draw that both were made with.

    Returns:
        Tensor: The images, bit for bit, ``(B, C, H, W)``.

    Raises:
        ValueError: If the draw feeds no reused view, or a size is not the one that the draw makes.
    """
    if draw.source is None:
        raise ValueError('the draw has no source map: what it masked is lost')
    draw.check(visible)
    batch, rows, cols = draw.mask.shape
    canvas_rows, canvas_cols = draw.source.shape[1:]
    if reused.shape[-2:] != (canvas_rows * draw.base, canvas_cols * draw.base):
        raise ValueError(
            f'the reused view must be the canvas of {canvas_rows * draw.base} x {canvas_cols * draw.base} px, '
            f'but got {tuple(reused.shape[-2:])}'
        )
    # The inverse map: where on the canvas each masked cell stands; empty canvas cells all go to one spare slot.
    index = torch.where(draw.source < 0, rows * cols, draw.source).flatten(1)
    place = torch.arange(canvas_rows * canvas_cols, device=index.device).expand(batch, -1)
    inverse = index.new_zeros(batch, rows * cols + 1).scatter(1, index, place)[:, :-1].view(batch, rows, cols)
    covered = _gather_pixels(reused, inverse, canvas_cols, draw.base)
    height, width = rows * draw.base, cols * draw.base
    image = visible.clone()
    corner = image[:, :, :height, :width]
    corner.copy_(torch.where(to_pixels(draw.mask, draw.base), covered, corner))
    return image
