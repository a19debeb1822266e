# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The draw: which cells of a batch are masked, and where each cell of the reused view comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Cells:
    """A pattern's own cells: equal rectangles per sample, in the order in which the canvas holds them.

    All lengths are in cells of the base grid. A sample's canvas is ``rows x cols`` of its rectangles, row-major;
    only the first ``count`` of them exist. Entries of ``top`` and ``left`` from ``count`` on mean nothing.

    Args:
        top (Tensor): First base row of each rectangle, long ``(B, T)``.
        left (Tensor): First base column of each rectangle, long ``(B, T)``.
        height (Tensor): Base rows of one rectangle, long ``(B,)``.
        width (Tensor): Base columns of one rectangle, long ``(B,)``.
        rows (Tensor): Rectangles in a column of the canvas, long ``(B,)``.
        cols (Tensor): Rectangles in a row of the canvas, long ``(B,)``.
        count (Tensor): Rectangles that are masked, long ``(B,)``.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    rows: Tensor
    cols: Tensor
    count: Tensor

    @classmethod
    def choose(cls, several: Sequence[Cells], choice: Tensor) -> Cells:
        """Take each sample's rectangles from one of several patterns.

        Args:
            several (Sequence[Cells]): The rectangles that each pattern drew for the whole batch.
            choice (Tensor): Index of the pattern of each sample, long ``(B,)``; a sample beyond the last has no
                rectangles.

        Returns:
            Cells: The rectangles.
        """
        longest = max(cells.top.shape[1] for cells in several)
        corners, sizes = 0, 0
        for index, cells in enumerate(several):
            chosen = (choice == index).view(-1, 1)
            corner = torch.stack([cells.top, cells.left])
            corners = corners + chosen * F.pad(corner, (0, longest - corner.shape[2]))
            size = torch.stack([cells.height, cells.width, cells.rows, cells.cols, cells.count], 1)
            sizes = sizes + chosen * size
        # A length of 0 could not be divided by.
        height, width, rows, cols, count = sizes.unbind(1)
        return cls(*corners, height.clamp(min=1), width.clamp(min=1), rows, cols, count)

    def source(self, canvas: tuple[int, int], cols: int) -> Tensor:
        """Refine the rectangles to the base grid.

        Args:
            canvas (tuple[int, int]): Base rows and columns of the canvas; the largest over the batch.
            cols (int): Columns of the image's base grid.

        Returns:
            Tensor: For each base cell of the canvas the flat index ``row * cols + col`` of the base cell of the
            image that it shows, -1 where it shows none; long ``(B, *canvas)``.
        """
        device = self.top.device
        i = torch.arange(canvas[0], device=device).view(1, -1, 1)
        j = torch.arange(canvas[1], device=device).view(1, 1, -1)
        height, width, n, m, count = (
            v.view(-1, 1, 1) for v in (self.height, self.width, self.rows, self.cols, self.count)
        )
        own_i, own_j = i // height, j // width
        rank = own_i * m + own_j
        exists = (own_i < n) & (own_j < m) & (rank < count)
        rank = rank.clamp(max=self.top.shape[1] - 1).flatten(1)
        top = self.top.gather(1, rank).view_as(exists)
        left = self.left.gather(1, rank).view_as(exists)
        source = (top + i - own_i * height) * cols + left + j - own_j * width
        return torch.where(exists, source, -1)


@dataclass(frozen=True)
class Draw:
    """One random draw for a batch, as small tensors on one base grid.

    The base grid covers the top left ``rows * base x cols * base`` pixels of the image; the few pixels beyond it,
    where the size does not divide, are never masked.

    Args:
        mask (Tensor): Which base cells are masked, bool ``(B, rows, cols)``, True = masked.
        masked (Tensor): Which samples are masked at all, bool ``(B,)``.
        base (int): Side of a base cell in pixels.
        source (Tensor | None): Which base cell of the image each base cell of the canvas shows, as the flat index
            ``row * cols + col``, -1 = empty; long ``(B, canvas rows, canvas cols)``. None for a pattern that does
            not feed the reused view. Defaults to None.
        choice (Tensor | None): Which pattern of a mixture masked each sample, long ``(B,)``; the number of patterns
            where none did. None for the draw of one pattern. Defaults to None.
    """

    mask: Tensor
    masked: Tensor
    base: int
    source: Tensor | None = None
    choice: Tensor | None = None

    @classmethod
    def from_source(cls, source: Tensor, rows: int, cols: int, base: int, reuse: bool = True) -> Draw:
        """Make the draw of a batch in which every sample is masked, from its source map."""
        index = torch.where(source < 0, rows * cols, source).flatten(1)
        mask = torch.zeros(len(source), rows * cols + 1, dtype=torch.bool, device=source.device)
        mask = mask.scatter(1, index, True)[:, :-1].unflatten(1, (rows, cols))
        masked = torch.ones(len(source), dtype=torch.bool, device=source.device)
        return cls(mask, masked, base, source if reuse else None)

    @property
    def ratio(self) -> Tensor:
        """Share of the base grid that is masked in each sample, float ``(B,)``."""
        return self.mask.flatten(1).float().mean(1)

    def check(self, images: Tensor) -> None:
        """Raise a ValueError unless the draw was made for this many images of this size."""
        batch, rows, cols = self.mask.shape
        size = tuple(length // self.base for length in images.shape[-2:])
        if (len(images), *size) != (batch, rows, cols):
            raise ValueError(
                f'the draw was made for {batch} images of {rows} x {cols} cells of {self.base} px, '
                f'but got images of shape {tuple(images.shape)}'
            )

    def pixel_mask(self, height: int, width: int, channels: int = 1) -> Tensor:
        """Refine the mask to pixels.

        Args:
            height (int): Image height in pixels.
            width (int): Image width in pixels.
            channels (int): Channels of the mask, all alike. Images in channels_last are masked quicker by a mask
                with all of their channels. Defaults to 1.

        Returns:
            Tensor: bool ``(B, channels, H, W)`` in channels_last, True = masked.

        Raises:
            ValueError: If the base grid is not the one that covers ``height x width``.
        """
        rows, cols = self.mask.shape[1:]
        if (height // self.base, width // self.base) != (rows, cols):
            raise ValueError(
                f'the draw was made for images of {rows} x {cols} cells of {self.base} px, '
                f'but got images of {height} x {width} px'
            )
        mask = to_pixels(self.mask, self.base, channels)
        right, below = width - cols * self.base, height - rows * self.base
        return F.pad(mask, (0, right, 0, below)) if right or below else mask


def to_pixels(cells: Tensor, base: int, channels: int = 1) -> Tensor:
    """Repeat each cell over its pixels: ``(B, rows, cols)`` to ``(B, channels, rows * base, cols * base)``."""
    batch, rows, cols = cells.shape
    # First along the row, then whole rows: the second and larger copy is of long stretches.
    line = cells[..., None].expand(-1, -1, -1, base * channels).reshape(batch, rows, 1, cols * base * channels)
    pixels = line.expand(-1, -1, base, -1).reshape(batch, rows * base, cols * base, channels)
    return pixels.permute(0, 3, 1, 2)


def packed_channels(images: Tensor) -> int:
    """Return how many channels lie side by side in memory: all in channels_last, else 1."""
    last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return images.shape[1] if last else 1
