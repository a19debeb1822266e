# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The draw: which cells of a batch are masked, and where each cell of the reused view comes from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Numbers that a piece of a batch has for each thread of a CPU: 4 MB in single precision.
PIECE = 2**20
#: Whole numbers of as many bytes.
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


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
        grid (Tensor | None): Which cells of the largest grid of own cells are masked, bool ``(B, rows, cols)``, where
            the rectangles are cells of such grids; None where they lie anywhere. Defaults to None.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    rows: Tensor
    cols: Tensor
    count: Tensor
    grid: Tensor | None = None

    def draw(self, canvas: tuple[int, int], rows: int, cols: int, base: int, reuse: bool = True) -> Draw:
        """Make the draw of a batch in which every sample is masked.

        Args:
            canvas (tuple[int, int]): Base rows and columns of the canvas; the largest over the batch.
            rows (int): Rows of the image's base grid.
            cols (int): Columns of the image's base grid.
            base (int): Side of a base cell in pixels.
            reuse (bool): Whether the draw has a source map. Defaults to True.

        Returns:
            Draw: The draw.
        """
        source = self.source(canvas, cols)
        if self.grid is None or on_cpu(self.grid):
            return Draw.from_source(source, rows, cols, base, reuse)
        # Read from a grid, a mask is one launch less than by scattering; with one cell more, always masked, as there.
        place = torch.arange(rows * cols + 1, device=source.device)
        own_i = place // cols // self.height.view(-1, 1)
        own_j = place % cols // self.width.view(-1, 1)
        grid_rows, grid_cols = self.grid.shape[1:]
        index = own_i.clamp(max=grid_rows - 1) * grid_cols + own_j.clamp(max=grid_cols - 1)
        inside = (own_i < grid_rows) & (own_j < grid_cols)
        mask = self.grid.flatten(1).gather(1, index) & inside | (place == rows * cols)
        mask, masked = mask[:, :-1].unflatten(1, (rows, cols)), mask[:, -1]
        return Draw(mask, masked, base, source if reuse else None)

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
        aligned (bool): Whether the features of the canvas are put back where its cells came from, see
            :func:`.put_back`. A masking says so by its ``reuse``. Defaults to False.
    """

    mask: Tensor
    masked: Tensor
    base: int
    source: Tensor | None = None
    choice: Tensor | None = None
    aligned: bool = False

    @classmethod
    def from_source(cls, source: Tensor, rows: int, cols: int, base: int, reuse: bool = True) -> Draw:
        """Make the draw of a batch in which every sample is masked, from its source map."""
        # Empty cells of the canvas all go to one more cell, which is always masked: so it says that the sample is, too.
        index = torch.where(source < 0, rows * cols, source).flatten(1)
        mask = torch.zeros(len(source), rows * cols + 1, dtype=torch.bool, device=source.device)
        mask[:, -1].fill_(True)
        mask.scatter_(1, index, True)
        mask, masked = mask[:, :-1].unflatten(1, (rows, cols)), mask[:, -1]
        return cls(mask, masked, base, source if reuse else None)

    @classmethod
    def from_mask(cls, mask: Tensor, base: int, reuse: bool = True) -> Draw:
        """Make the draw of any mask: one that follows the image, or was made by hand.

        Args:
            mask (Tensor): Which cells are masked, bool ``(B, rows, cols)``, True = masked; a sample without any is not
                masked.
            base (int): Side of a cell of this mask in pixels.
            reuse (bool): Whether to make the source map where the count allows: where all samples that are masked mask
                as many cells, and just as many as a scale s would, ``round(s * rows) x round(s * cols)``. To count
                them the CPU waits for the device. Defaults to True.

        Returns:
            Draw: The draw. Its source map, if any, has the masked cells in the order of the image.

        Raises:
            TypeError: If the mask is no tensor of bools, or ``base`` no whole number.
            ValueError: If the mask has not three dimensions, or ``base`` is not positive.

        Example:
            >>> mask = torch.tensor([[[True, False], [False, False]]])
            >>> Draw.from_mask(mask, base=16).source
            tensor([[[0]]])
        """
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise TypeError(f'mask must be a tensor of bools, True = masked, but got {got}')
        if mask.dim() != 3:
            raise ValueError(f'mask must be of shape (batch, rows, cols), but got {tuple(mask.shape)}')
        if not isinstance(base, int) or isinstance(base, bool):
            raise TypeError(f'base must be a whole number of pixels, but got {base!r}')
        if base < 1:
            raise ValueError(f'base must be at least 1 px, but got {base}')
        masked = mask.flatten(1).any(1)
        canvas = _canvas(mask) if reuse else None
        if canvas is None:
            return cls(mask, masked, base)
        rank = torch.arange(canvas[0] * canvas[1], device=mask.device)
        first = kept_first(~mask.flatten(1))[:, : len(rank)]
        source = torch.where(masked[:, None], first, -1).unflatten(1, canvas)
        return cls(mask, masked, base, source)

    @classmethod
    def choose(cls, several: Sequence[Draw], choice: Tensor) -> Draw:
        """Take each sample's draw from one of several, all on one base grid.

        Args:
            several (Sequence[Draw]): The draws of the whole batch.
            choice (Tensor): Index of the draw of each sample, long ``(B,)``; a sample beyond the last is not masked.

        Returns:
            Draw: The draw. Canvases smaller than the largest are padded with empty cells; it has no source map where
            one of the draws has none.
        """
        mask, masked, source = torch.zeros_like(several[0].mask), torch.zeros_like(several[0].masked), None
        sources = [draw.source for draw in several if draw.source is not None]
        if len(sources) == len(several):
            sizes = [own.shape[1:] for own in sources]
            canvas = max(rows for rows, _ in sizes), max(cols for _, cols in sizes)
            source = sources[0].new_full((len(mask), *canvas), -1)
        for index, draw in enumerate(several):
            chosen = choice == index
            masked = masked | chosen & draw.masked
            chosen = chosen.view(-1, 1, 1)
            mask = mask | chosen & draw.mask
            if source is not None:
                below, right = (a - b for a, b in zip(canvas, sizes[index], strict=True))
                source = torch.where(chosen, F.pad(sources[index], (0, right, 0, below), value=-1), source)
        return cls(mask, masked, several[0].base, source, choice)

    def refine(self, base: int, height: int, width: int) -> Draw:
        """Return the same draw on a finer base grid.

        Args:
            base (int): Side of its cells in pixels.
            height (int): Image height in pixels.
            width (int): Image width in pixels.

        Returns:
            Draw: The draw; itself where the base is its own.

        Raises:
            ValueError: If the cells of this draw are no whole number of the finer ones.
        """
        if base == self.base:
            return self
        if self.base % base:
            raise ValueError(f'the base of the draw must be a multiple of {base} px, but got cells of {self.base} px')
        times, cols = self.base // base, width // base
        mask = to_pixels(self.mask, times)[:, 0]
        mask = F.pad(mask, (0, cols - mask.shape[2], 0, height // base - mask.shape[1]))
        source = self.source
        if source is not None:
            own = self.mask.shape[2]
            step = torch.arange(times, device=source.device)
            corner = (source // own * cols + source % own)[:, :, None, :, None] * times
            fine = corner + step.view(-1, 1, 1) * cols + step
            source = torch.where(source[:, :, None, :, None] < 0, -1, fine).flatten(3).flatten(1, 2)
        return replace(self, mask=mask, base=base, source=source)

    def tensors(self) -> dict[str, Tensor]:
        """Return its tensors, by the names of the fields; those that are None are left out."""
        fields = {name: getattr(self, name) for name in ('mask', 'masked', 'source', 'choice')}
        return {name: value for name, value in fields.items() if value is not None}

    def to(self, device: torch.device | str) -> Draw:
        """Return the draw on another device, such as one that was kept on the CPU to be replayed."""
        return self._each(lambda value: value.to(device))

    def of(self, part: slice | Tensor) -> Draw:
        """Return the draw of some of the images, by a slice or a mask of them."""
        return self._each(lambda value: value[part])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draw:
        """Return the draw with each of its tensors changed."""
        changed: dict[str, Any] = {name: change(value) for name, value in self.tensors().items()}
        return replace(self, **changed)

    @property
    def places(self) -> Tensor:
        """Tensor: Where on the canvas each base cell of the image stands: the inverse of :attr:`source`.

        As the flat index ``row * canvas cols + col``, -1 where it stands nowhere; long ``(B, rows, cols)``.

        Raises:
            ValueError: If the draw has no source map.
        """
        if self.source is None:
            raise ValueError('the draw has no source map: what it masked is lost')
        batch, rows, cols = self.mask.shape
        # Empty cells of the canvas all go to one spare slot.
        index = torch.where(self.source < 0, rows * cols, self.source).flatten(1)
        place = torch.arange(index.shape[1], device=index.device).expand(batch, -1)
        places = index.new_full((batch, rows * cols + 1), -1).scatter(1, index, place)
        return places[:, :-1].unflatten(1, (rows, cols))

    @property
    def ratio(self) -> Tensor:
        """Share of the base grid that is masked in each sample, float ``(B,)``."""
        return self.mask.flatten(1).float().mean(1)

    def check(self, images: Tensor) -> None:
        """Raise a ValueError unless the draw was made for this many images of this size, on their device.

        Raises:
            TypeError: If mask or source map are no tensors of bools and whole numbers.
        """
        if self.mask.dtype != torch.bool or (self.source is not None and self.source.dtype != torch.long):
            raise TypeError(
                'the mask of a draw must hold bools, and its source map whole numbers, but got '
                f'{self.mask.dtype} and {None if self.source is None else self.source.dtype}'
            )
        batch, rows, cols = self.mask.shape
        size = tuple(length // self.base for length in images.shape[-2:])
        if (len(images), *size) != (batch, rows, cols) or len(self.masked) != batch:
            raise ValueError(
                f'the draw was made for {batch} images of {rows} x {cols} cells of {self.base} px, '
                f'but got images of shape {tuple(images.shape)}'
            )
        if self.mask.device != images.device:
            raise ValueError(
                f'the draw must be on the device of the images, {images.device}, but is on {self.mask.device}: '
                'move it by its method `to`'
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


def traced(tensor: Tensor) -> bool:
    """Return whether a graph is being made, or shapes alone are looked for: the tensor has no values then."""
    return torch.compiler.is_compiling() or type(tensor) is not Tensor


def on_cpu(tensor: Tensor) -> bool:
    """Return whether looking at the values of a tensor waits for nothing: not for a device, nor for a later call."""
    return tensor.device.type == 'cpu' and not traced(tensor)


def kept_first(mask: Tensor) -> Tensor:
    """Put the kept cells, or tokens, of each sample in front of its masked ones, both in the order of the image.

    Args:
        mask (Tensor): bool ``(B, N)``, True = masked.

    Returns:
        Tensor: Their indices, long ``(B, N)``.
    """
    return mask.byte().argsort(dim=1, stable=True)


def _canvas(mask: Tensor) -> tuple[int, int] | None:
    """Return the rows and columns of the canvas that a scale would give to as many cells, None where none would."""
    rows, cols = mask.shape[1:]
    counts = {count for count in mask.flatten(1).sum(1).unique().tolist() if count}
    if not counts:
        return 1, 1
    if len(counts) > 1:
        return None
    (count,) = counts
    for n in range(1, rows + 1):
        m, rest = divmod(count, n)
        # Is there a scale that rounds to both?
        if not rest and max((n - 0.5) / rows, (m - 0.5) / cols) < min((n + 0.5) / rows, (m + 0.5) / cols):
            return n, m
    return None


def packed_channels(images: Tensor) -> int:
    """Return how many channels lie side by side in memory: all in channels_last, else 1."""
    last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return images.shape[1] if last else 1


def memory_format(images: Tensor) -> torch.memory_format:
    """Return whether images are in channels_last or contiguous."""
    return torch.channels_last if packed_channels(images) > 1 else torch.contiguous_format


def select(mask: Tensor, content: Tensor, images: Tensor, out: Tensor | None = None) -> Tensor:
    """Do what ``torch.where`` does, on a CPU bit by bit: there it takes ten times as long as a copy.

    Args:
        mask (Tensor): Where the content stands, bool, broadcastable to the images.
        content (Tensor): Of the dtype of the images, broadcastable to them.
        images (Tensor): ``(B, C, H, W)``.
        out (Tensor | None): Where to write to, where nothing needs a gradient; None is a new tensor. Defaults to None.

    Returns:
        Tensor: ``(B, C, H, W)``, in the memory format of the images.
    """
    bits = BITS.get(images.element_size())
    learned = torch.is_grad_enabled() and (images.requires_grad or content.requires_grad)
    if not on_cpu(images) or learned or bits is None or images.dtype == torch.bool:
        return torch.where(mask, content, images, **({} if out is None else dict(out=out)))
    out = torch.empty_like(images) if out is None else out
    for part in pieces(images):
        some, of_some = (
            each[part] if each.dim() == images.dim() and len(each) == len(images) else each for each in (mask, content)
        )
        _select_bits(some.to(bits).neg_(), of_some, images[part], out[part])
    return out


def pieces(images: Tensor) -> Iterator[slice]:
    """Yield a few images at a time, so that a CPU finds in its cache what it makes of them on the way."""
    step = max(1, PIECE * torch.get_num_threads() // max(1, images[:1].numel()))
    for start in range(0, len(images), step):
        yield slice(start, start + step)


def _select_bits(hide: Tensor, content: Tensor, images: Tensor, out: Tensor) -> None:
    """Do what :func:`select` does, where ``hide`` has all bits of what is masked, none of what stays; it is used up."""
    pixels, content, out = (tensor.view(hide.dtype) for tensor in (images, content, out))
    if content.numel() == images.numel() or content.any():  # of another image nobody looks for zeros
        torch.bitwise_xor(pixels, content, out=out).bitwise_and_(hide).bitwise_xor_(pixels)
    else:
        torch.bitwise_and(pixels, hide.bitwise_not_(), out=out)


def fill_cells(images: Tensor, draw: Draw, content: Tensor, out: Tensor) -> Tensor:
    """Write images to a tensor, with other content in their masked cells, on a CPU where nothing needs a gradient.

    Args:
        images (Tensor): ``(B, C, H, W)``.
        draw (Draw): Which cells are masked.
        content (Tensor): What stands there, of the dtype of the images and broadcastable to them.
        out (Tensor): Where to write to, in the memory format of the images.

    Returns:
        Tensor: ``out``.
    """
    (batch, channels, height, width), (rows, cols) = images.shape, draw.mask.shape[1:]
    packed, base = packed_channels(images), draw.base
    bits = BITS.get(images.element_size())
    if packed == 1 and bits is not None and (rows * base, cols * base) == (height, width):
        line = (-draw.mask.to(bits))[..., None].expand(-1, -1, -1, base).reshape(batch, rows, width)
        hide = line.index_select(1, torch.arange(height) // base)  # rows are copied quicker than by `to_pixels`
        _select_bits(hide[:, None], content, images, out)
        return out
    if packed == 1 or cols * base != width:
        return select(draw.pixel_mask(height, width, packed), content, images, out)
    # In channels_last a mask of each pixel's channels costs several copies; strips, of one row of a cell, do not.
    out.copy_(images)
    count = functools.partial(torch.arange, device=draw.mask.device)
    first_row = count(batch).view(-1, 1, 1) * height + count(rows).view(-1, 1) * base
    corner = (first_row * cols + count(cols))[draw.mask]
    index = (corner[:, None] + count(base) * cols).flatten()
    if content.dim() < 4 or content.shape[2:] == (1, 1):
        content = content.expand(len(content) if content.dim() == 4 else 1, channels, 1, 1)[:, :, 0, 0].repeat(1, base)
        content = content.expand(len(index), -1) if len(content) == 1 else content[index // (height * cols)]
    else:
        content = content.expand_as(images).permute(0, 2, 3, 1).reshape(-1, base * channels)[index]
    out.permute(0, 2, 3, 1).view(-1, base * channels).index_copy_(0, index, content)
    return out
