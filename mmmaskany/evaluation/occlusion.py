# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The same masks for every network that is tested."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from mmmaskany.masking import Fill, Pattern
from mmmaskany.utils.seeding import derive_seed

#: Masks are drawn for so many images at a time.
_BLOCK = 32


def occlude(images: Tensor, pattern: Pattern, fill: Fill, first: int = 0, seed: int = 0) -> Tensor:
    """Mask test images by a pattern, each with the mask of :func:`occlusion_mask`.

    Args:
        images (Tensor): Consecutive images of the data, ``(B, C, H, W)``; never modified.
        pattern (Pattern): Where to mask.
        fill (Fill): What stands in the masked pixels.
        first (int): Place of the first image in the data. Defaults to 0.
        seed (int): Other seeds give other masks. Defaults to 0.

    Returns:
        Tensor: The masked images, ``(B, C, H, W)``.
    """
    return fill(images, occlusion_mask(images, pattern, first, seed))


def occlusion_mask(images: Tensor, pattern: Pattern, first: int = 0, seed: int = 0) -> Tensor:
    """Draw the masks of test images, each of which follows from the image's place in the data alone.

    Neither the batch size nor what was drawn before changes a mask, so all networks are tested on the same images.

    Args:
        images (Tensor): Consecutive images of the data, ``(B, C, H, W)``.
        pattern (Pattern): Where to mask.
        first (int): Place of the first image in the data. Defaults to 0.
        seed (int): Other seeds give other masks. Defaults to 0.

    Returns:
        Tensor: Which pixels are masked, bool ``(B, 1, H, W)``, True = masked.
    """
    height, width = images.shape[-2:]
    masks = []
    for block in range(first // _BLOCK, (first + len(images) - 1) // _BLOCK + 1):
        generator = Generator().manual_seed(derive_seed('occlusion', seed, repr(pattern), block))
        masks.append(pattern.draw(_BLOCK, height, width, generator).pixel_mask(height, width))
    mask = torch.cat(masks)[first % _BLOCK :][: len(images)]
    return mask.to(images.device)
