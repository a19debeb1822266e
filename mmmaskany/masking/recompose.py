# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Recomposing: the masked cells of an image, stitched into a smaller image, and the ways back."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import BITS, Draw, on_cpu, packed_channels, select, to_pixels


def _gather_pixels(images: Tensor, cells: Tensor, cell_cols: int, base: int, samples: Tensor | None = None) -> Tensor:
    """Build an image of base cells of other images by one gather.

    Args:
        images (Tensor): ``(B, C, H, W)``, in any memory format, which the output keeps.
        cells (Tensor): Flat index of the base cell that stands at each place, long ``(N, rows, cols)``, no -1.
        cell_cols (int): Columns of the base grid that ``cells`` counts in.
        base (int): Side of a base cell in pixels.
        samples (Tensor | None): The images that the cells are of, by their index, long ``(N,)``; None is all, in their
            order. Defaults to None.

    Returns:
        Tensor: ``(N, C, rows * base, cols * base)``.
    """
    channels, height = images.shape[1:3]
    batch, rows, cols = cells.shape
    # The images as one list of strips, each one pixel row of one cell: contiguous in memory, so quick to copy.
    packed = packed_channels(images)
    images = images[..., : cell_cols * base]
    strips = (images.permute(0, 2, 3, 1) if packed > 1 else images).reshape(-1, base * packed)
    if on_cpu(cells) and len(strips) < 2**31:
        cells = cells.int()  # half of the memory
    corner = cells // cell_cols * (base * cell_cols) + cells % cell_cols
    below = cell_cols * torch.arange(base, device=images.device, dtype=cells.dtype).view(-1, 1)
    strip = (corner[:, :, None] + below).flatten(1)
    planes = channels // packed
    plane = torch.arange(batch * planes, device=images.device, dtype=cells.dtype).view(batch, planes, 1)
    if samples is not None:
        plane = samples.to(cells.dtype).view(-1, 1, 1) * planes + plane[:1]
    out = _select_strips(strips, (plane * (height * cell_cols) + strip[:, None]).flatten())
    if packed > 1:
        return out.view(batch, rows * base, cols * base, channels).permute(0, 3, 1, 2)
    return out.view(batch, channels, rows * base, cols * base)


def _select_strips(strips: Tensor, index: Tensor) -> Tensor:
    """Do what ``strips.index_select(0, index)`` does, on a CPU in less than half the time where it can.

    A strip of 4 pixels in single precision is 16 bytes, as a complex number is: so are strips selected as numbers.
    """
    size = strips.shape[1] * strips.element_size()
    number = {**BITS, 16: torch.complex128}.get(size)
    learned = torch.is_grad_enabled() and strips.requires_grad
    if number is None or learned or not on_cpu(strips) or not strips.is_contiguous():
        return strips.index_select(0, index)
    if strips.data_ptr() % size or strips.storage_offset() % strips.shape[1]:
        strips = strips.clone()
    return strips.view(number)[:, 0].index_select(0, index)[:, None].view(strips.dtype)


def recompose(images: Tensor, draw: Draw, samples: Tensor | None = None) -> Tensor:
    """Stitch the masked cells of each image together, row-major, into a smaller image.

    For a patch this is the crop, for a grid the thumbnail of the kept cells, for random cells their packed
    canvas (MaskAnyNet, arXiv 2511.12480, Figure 3).

    Args:
        images (Tensor): ``(B, C, H, W)``, any dtype and memory format; never modified.
        draw (Draw): A draw with a source map, for this batch and size.
        samples (Tensor | None): The N images to recompose, by their index, long ``(N,)``; None is all. Defaults to
            None.

    Returns:
        Tensor: The canvas, ``(N, C, canvas rows * base, canvas cols * base)`` in dtype, device and memory format
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
    source = draw.source if samples is None else draw.source[samples]
    canvas = _gather_pixels(images, source.clamp(min=0), draw.mask.shape[2], draw.base, samples)
    empty = source < 0
    if on_cpu(empty) and not empty.any():
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
    inverse = draw.places.clamp(min=0)
    draw.check(visible)
    assert draw.source is not None  # it has places
    rows, cols = draw.mask.shape[1:]
    canvas_rows, canvas_cols = draw.source.shape[1:]
    if reused.shape[-2:] != (canvas_rows * draw.base, canvas_cols * draw.base):
        raise ValueError(
            f'the reused view must be the canvas of {canvas_rows * draw.base} x {canvas_cols * draw.base} px, '
            f'but got {tuple(reused.shape[-2:])}: where cells do not divide the image it was resized, and cannot be '
            'put back bit for bit'
        )
    covered = _gather_pixels(reused, inverse, canvas_cols, draw.base)
    height, width = rows * draw.base, cols * draw.base
    image = visible.clone()
    corner = image[:, :, :height, :width]
    corner.copy_(torch.where(to_pixels(draw.mask, draw.base), covered, corner))
    return image
