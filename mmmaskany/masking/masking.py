# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masking: pattern, fill and recompose in one step, from a batch of images to its two views."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from .draw import Draw, packed_channels
from .fills import ConstantFill, Fill
from .patterns import MixturePattern, Pattern, check_pattern, draw_masks
from .recompose import recompose


class Views(NamedTuple):
    """The two images that a network with two stems sees, and the draw they were made with.

    It is what a packer, a data preprocessor and a masking hand on, and what a backbone takes beside a plain batch:
    a list or tuple of two batches is never taken for it.

    Args:
        visible (Tensor): The images with their masked regions filled, ``(B, C, H, W)``.
        reused (Tensor): The recomposed masked regions, about half the size, ``(B, C, h, w)``.
        draw (Draw | None): Which cells were masked; None where that is not known, as of masks from a data pipeline.
            Defaults to None.
    """

    visible: Tensor
    reused: Tensor
    draw: Draw | None = None


def reused_size(height: int, width: int) -> tuple[int, int]:
    """Return the size of the reused view for images of ``height x width`` px: half, each side rounded up."""
    return (height + 1) // 2, (width + 1) // 2


def half_size(images: Tensor) -> Tensor:
    """Resize images to half their size, rounded up: what the reused stem sees of an unmasked image.

    Args:
        images (Tensor): Floating point images, ``(B, C, H, W)``.

    Returns:
        Tensor: ``(B, C, ceil(H / 2), ceil(W / 2))``; for even sizes the mean of each 2 x 2 pixels.
    """
    height, width = images.shape[-2:]
    if height % 2 or width % 2:
        return resize(images, reused_size(height, width))
    # The same numbers as by F.interpolate, whose CPU kernel takes several times as long.
    pairs = images[:, :, 0::2] + images[:, :, 1::2]
    return (pairs[..., 0::2] + pairs[..., 1::2]).mul_(0.25)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images bilinearly, or return them as they are where the size is right."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode='bilinear', align_corners=False)


class Masking(nn.Module):
    """Masks a batch of images and recomposes what was masked (MaskAnyNet, arXiv 2511.12480, Figure 2).

    Args:
        pattern (Pattern | MixturePattern): Where to mask.
        fill (Fill | None): What stays in the visible image; None is :class:`ConstantFill` of 0. Defaults to None.
        reuse (bool): Whether the reused view shows the masked regions. False is the ablation of it: the same
            masks, but what they hide is lost, and the reused view is the visible image at half size. What may stand
            here is :attr:`reuses`. Defaults to True.

    Shape:
        - input: floating point images ``(B, C, H, W)``; never modified.
        - output: :class:`Views`. The reused view of a masked sample is its canvas, of another one the whole image,
          both at half size.

    Raises:
        TypeError: If pattern or fill are no such things.
        ValueError: If ``reuse`` is not known, or asked of a pattern without ``scale``.
    """

    #: What may become of the masked part; a new answer is a value here and a branch of :meth:`reused_view`.
    reuses: tuple = (True, False)

    def __init__(self, pattern: Pattern | MixturePattern, fill: Fill | None = None, reuse: bool = True) -> None:
        super().__init__()
        check_pattern(pattern)
        fill = ConstantFill() if fill is None else fill
        if not isinstance(fill, Fill):
            raise TypeError(f'fill must be a Fill, but got {type(fill).__name__}')
        if reuse not in self.reuses:
            raise ValueError(f'reuse must be one of {list(self.reuses)}, but got {reuse!r}')
        if reuse and pattern.scale is None:
            raise ValueError(
                f'the reused view needs a pattern with a `scale`, but got {pattern}; give a scale, or reuse=False'
            )
        self.pattern = pattern
        self.fill = fill
        self.reuse = reuse

    def forward(
        self,
        images: Tensor,
        draw: Draw | None = None,
        generator: Generator | None = None,
        scores: Tensor | None = None,
    ) -> Views:
        """Make both views.

        Args:
            images (Tensor): Floating point images, ``(B, C, H, W)``; never modified.
            draw (Draw | None): A draw to replay, or one that was made elsewhere, see :meth:`Draw.from_mask`. None
                draws anew, on the device of the images. Defaults to None.
            generator (Generator | None): Source of random numbers; None is the global one of the device. Defaults to
                None.
            scores (Tensor | None): Scores for a pattern that asks for them; others leave them alone. Defaults to
                None.

        Returns:
            Views: Both views and the draw.

        Raises:
            TypeError: If ``draw`` is no draw.
            ValueError: If it was made for other images, has no source map but is to be reused, or the pattern asks for
                scores that are missing or of another grid.
        """
        height, width = images.shape[-2:]
        if draw is None:
            draw = draw_masks(self.pattern, images, generator, scores)
        elif isinstance(draw, Draw):
            draw.check(images)
        else:
            raise TypeError(f'draw must be a Draw, such as Draw.from_mask makes, but got {type(draw).__name__}')
        # The reused view first, and put together in place: so its buffers leave no holes, and memory is used again.
        reused = self.reused_view(images, draw)
        visible = self.fill(images, draw.pixel_mask(height, width, packed_channels(images)))
        return Views(visible, half_size(visible) if reused is None else reused, draw)

    def reused_view(self, images: Tensor, draw: Draw) -> Tensor | None:
        """Make the reused view.

        Args:
            images (Tensor): The images, ``(B, C, H, W)``.
            draw (Draw): Their draw.

        Returns:
            Tensor | None: The canvas of masked samples, the whole image of others, both at half size; None where the
            masked part is lost.
        """
        if not self.reuse:
            return None
        whole = half_size(images)
        canvas = resize(recompose(images, draw), whole.shape[-2:])
        # The canvas of a sample that is not masked is 0.
        return whole.masked_fill_(draw.masked.view(-1, 1, 1, 1), 0).add_(canvas)

    def extra_repr(self) -> str:
        return f'pattern={self.pattern}, reuse={self.reuse}'
