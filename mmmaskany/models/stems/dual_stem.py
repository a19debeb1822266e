# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The dual stem: what stands in the host's stem and fuses the reused image in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmmaskany.checkpoints.format import FormatMixin
from mmmaskany.masking import Draw, put_back
from mmmaskany.masking.draw import on_cpu
from mmmaskany.masking.masking import resize

from .find import dry_run
from .fusions import Fusion


class DualStem(FormatMixin, nn.Module):
    r"""Holds the host's own stem, the reused stem and their fusion, and returns what the host's stem returned.

    ::

        x ─────────── visible ────────────────────────┐
                          │ size                      fusion ── y
        reused image ─ (resize) ─ reused ─ (upsample) ┘

    The reused image is resized only where its features would have another size than those of the visible one, as in
    the paper's code, where both stems fit an image of 225 px and its half of 113. A checkpoint of format 1 goes on
    computing what it was trained with: there, 113 px became 114, twice the size of the features.

    Where the host's stem ends in a pooling, whose stride is the one that the reused stem halves, the pooling of the
    reused stem would have stride 1 and stand right before the fusion: it is left out, and the reused stem ends before
    it. A checkpoint of format 1 or 2 goes on with it.

    The reused image does not pass through the host: the backbone lays it in, see :meth:`holding`, and calls the host's
    forward within. With a draw of ``reuse='aligned'`` laid in beside it, the features of masked samples are put back
    where their cells came from, see :func:`mmmaskany.masking.put_back`, in place of being upsampled; those of others
    are left alone.

    Source: MaskAnyNet, arXiv 2511.12480, Figure 2 ("feature fusion and alignment").

    Args:
        visible (nn.Module): The host's stem, or the last module of it where it is spread over several (then the
            others stay where they are in the host).
        reused (nn.Module): The stem of the reused image, with half the stride of the host's.
        fusion (Fusion): Called with the features of both.
        stride (float): Stride of the reused stem, which tells the size of image that fits. 0.5 means that the
            host's stem has stride 1, so that the reused features are upsampled twice instead. Defaults to 2.

    Shape:
        - x: what the host's stem, or its last module, takes.
        - output: ``(B, C, h, w)``, as ``visible`` returns it. A reused image that does not fit is resized to
          ``(ceil(h * stride), ceil(w * stride))``.

    Raises:
        RuntimeError: If it is called without a reused image.
        ValueError: If both stems return different sizes.
    """

    formats = (1, 2, 3)

    def __init__(self, visible: nn.Module, reused: nn.Module, fusion: Fusion, stride: float = 2) -> None:
        super().__init__()
        self.visible = visible
        self.reused = reused
        self.fusion = fusion
        self.stride = stride
        self.padding = _padding(reused, max(1, int(stride)))
        if isinstance(reused, nn.Sequential) and _keeps_size(reused[-1]):
            reused[-1] = LastPooling(reused[-1])
        self.reused_image: Tensor | None = None
        self.draw: Draw | None = None

    def set_extra_state(self, state: Tensor | int) -> None:
        """Compute the function of a format from now on; errors as in the base."""
        super().set_extra_state(state)
        for module in self.reused.children():
            if isinstance(module, LastPooling):
                module.pools = self.format < 3

    @contextmanager
    def holding(self, reused: Tensor, draw: Draw | None = None) -> Iterator[None]:
        """Lay the reused image in for one forward pass of the host; nothing of it stays, whatever happens in there.

        Args:
            reused (Tensor): The reused images, ``(B, C, h, w)``.
            draw (Draw | None): What they were made with; only one that is to be aligned matters. Defaults to None.

        Yields:
            None: Nothing.
        """
        self.reused_image = reused
        self.draw = draw if isinstance(draw, Draw) and draw.aligned else None
        try:
            yield
        finally:
            self.reused_image = self.draw = None

    def forward(self, x: Tensor) -> Tensor:
        if self.reused_image is None:
            raise RuntimeError(
                'the dual stem was called without a reused image: call the backbone, not its parts, and let no '
                'gradient checkpointing run the stem by itself'
            )
        visible = self.visible(x)
        size = visible.shape[-2:]
        image = self.reused_image
        if self.format == 1 or not self._fits(image, size):
            image = resize(image, tuple(math.ceil(length * self.stride) for length in size))
        features = self.reused(image)
        reused = resize(features, size) if self.stride < 1 else features
        if reused.shape != visible.shape:
            raise ValueError(
                f'both stems must return features of one shape, but got {tuple(visible.shape)} of the visible image '
                f'and {tuple(reused.shape)} of the reused one: the reused stem needs half the stride of the other'
            )
        if self.draw is not None and not (on_cpu(self.draw.masked) and not self.draw.masked.any()):
            strides = int(2 * self.stride), max(1, int(self.stride))
            placed = put_back(features, self.draw, size, strides, image.shape[-2:])
            reused = torch.where(self.draw.masked.view(-1, 1, 1, 1), placed, reused)
        return self.fusion(visible, reused)

    def _fits(self, image: Tensor, size: tuple[int, int]) -> bool:
        """Tell whether the reused stem returns features of a size for an image, from their sizes alone."""
        sides = zip(image.shape[-2:], size, strict=True)
        return all((side + self.padding) // self.stride == wanted for side, wanted in sides)

    def extra_repr(self) -> str:
        return f'stride={self.stride}'


class LastPooling(nn.Module):
    """The pooling of stride 1 that a reused stem ended in until format 3; from then on it lets everything through.

    Args:
        pooling (nn.Module): The pooling.
    """

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.pooling = pooling
        self.pools = False

    def forward(self, x: Tensor) -> Tensor:
        return self.pooling(x) if self.pools else x

    def extra_repr(self) -> str:
        return f'pools={self.pools}'


def _keeps_size(module: nn.Module) -> bool:
    """Tell whether a module is a pooling of stride 1 that returns a map of the same size."""
    if not isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        return False
    kernel, stride, padding = (
        size if isinstance(size, tuple) else (size, size)
        for size in (module.kernel_size, module.stride, module.padding)
    )
    return stride == (1, 1) and all(side - 1 == 2 * around for side, around in zip(kernel, padding, strict=True))


def _padding(stem: nn.Module, stride: int) -> int:
    """Find out what a stem adds to a side of the image before it divides it: ``(side + padding) // stride`` is left.

    Convolutions and poolings, one after the other, come to just that; the stride divides one of so many sides in turn.
    """
    channels = next((module.in_channels for module in stem.modules() if isinstance(module, nn.Conv2d)), 3)
    sides = range(16 * stride, 17 * stride)
    return max(dry_run(stem, (1, channels, side, side))[2] * stride - side for side in sides)
