# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Fills: what stays in the visible image where it is masked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .draw import select


class Fill(nn.Module):
    """Base of the fills: a module called with images and a pixel mask that returns the filled images.

    Shape:
        - images: ``(B, C, H, W)``, never modified.
        - mask: bool ``(B, 1, H, W)`` or ``(B, C, H, W)``, True = masked.
        - output: ``(B, C, H, W)``, with dtype, device and memory format of the images.
    """

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        return select(mask, self.content(images).to(images.dtype), images)

    def content(self, images: Tensor) -> Tensor:
        """Return what stands in the masked pixels, broadcastable to the images."""
        raise NotImplementedError


class ConstantFill(Fill):
    """Fill with a constant, as MaskAnyNet, Cutout and GridMask do.

    Args:
        value (float | Sequence[float]): The constant, or one per channel, in the units of the images that the
            fill meets. In a model these are normalised, so that 0 is the mean colour, and black is
            ``[-mean / std, ...]``. Defaults to 0.
    """

    values: Tensor

    def __init__(self, value: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        self.value = value
        if isinstance(value, Sequence):
            self.register_buffer('values', torch.tensor(list(value)).view(1, -1, 1, 1), persistent=False)

    def content(self, images: Tensor) -> Tensor:
        if not isinstance(self.value, Sequence):
            return images.new_full((), self.value)
        if len(self.value) != images.shape[1]:
            raise ValueError(
                f'the fill has values for {len(self.value)} channels, but got images of {images.shape[1]} channels'
            )
        return self.values.to(images.device)

    def extra_repr(self) -> str:
        return f'value={self.value}'


class MeanFill(Fill):
    """Fill with each image's own mean per channel, as A2MIM does (arXiv 2205.13943)."""

    def content(self, images: Tensor) -> Tensor:
        dtype = None if images.is_floating_point() else torch.float
        return images.mean((2, 3), keepdim=True, dtype=dtype)


class TokenFill(Fill):
    """Fill with one learned value per channel, as SimMIM's mask token, in image space (arXiv 2111.09886).

    Args:
        channels (int): Channels of the images. Defaults to 3.

    Raises:
        ValueError: If images have another number of channels.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, channels, 1, 1))
        nn.init.trunc_normal_(self.token, std=0.02)

    def content(self, images: Tensor) -> Tensor:
        if images.shape[1] != self.token.shape[1]:
            raise ValueError(
                f'channels must be that of the images, {images.shape[1]}, but the token has {self.token.shape[1]}'
            )
        return self.token


class ImageFill(Fill):
    """Fill with the same place of another image: each sample's partner is its neighbour in the batch.

    MixMask (arXiv 2210.11456) pairs a batch with its reverse, which pairs the middle image of an odd batch with
    itself; a neighbour is never oneself.
    """

    def content(self, images: Tensor) -> Tensor:
        if len(images) < 2:
            raise ValueError('ImageFill needs a partner for each image, so at least 2 images, but got a batch of 1')
        return images.roll(1, 0)
