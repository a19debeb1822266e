# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Augments: what the reused view shows of an unmasked image, beside the image itself."""

from __future__ import annotations

from torch import Generator, Tensor, nn


class Augment(nn.Module):
    """Base of what changes images that are not masked, before they are halved for the reused view.

    Shape:
        - images: floating point ``(B, C, H, W)``, never modified.
        - output: ``(B, C, H, W)``, with dtype, device and memory format of the images.
    """

    def forward(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """Augment images.

        Args:
            images (Tensor): The images.
            generator (Generator | None): Source of random numbers; None is the global one. Defaults to None.

        Returns:
            Tensor: As many of the same size.
        """
        raise NotImplementedError(f'{type(self).__name__} must define `forward(images, generator)`')
