# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from mmmaskany.builder import build_pattern
from mmmaskany.masking import ImageFill, MixturePattern, Pattern, draw_masks
from mmmaskany.masking.draw import packed_channels


class Mixed(NamedTuple):
    """A batch of which each image was mixed with its partner.

    Args:
        images (Tensor): The mixed images, ``(B, C, H, W)``.
        kept (Tensor): What is left of each image, lambda, the mean of ``1 - mask``; float ``(B,)``.
        mask (Tensor): The partner's share of each pixel, bool or float, ``(B, 1, H, W)`` or ``(B, C, H, W)``.
    """

    images: Tensor
    kept: Tensor
    mask: Tensor


class NeighbourMix:
    """Base of what mixes each image of a batch with its neighbour, never with itself.

    Called with images and scores it is one of mmpretrain's batch augmentations; a subclass says what :meth:`mix` does
    to the images. A batch of one has no partner and passes as it is, with a warning, because it may be the last one of
    an epoch.

    All random numbers come from torch, on the device of the images.

    Shape:
        - images: ``(B, C, H, W)``, never modified.
        - scores: ``(B, num_classes)``, one-hot or soft.
        - output: both, mixed, the scores as float.

    Raises:
        ValueError: If the scores do not have two dimensions.
    """

    #: Sides in px of the cells that an image is divided into; none where any size will do.
    cells: tuple[int, ...] = ()
    partner = ImageFill()

    def mix(self, images: Tensor) -> Mixed:
        """Mix each image with its partner.

        Args:
            images (Tensor): At least two images, ``(B, C, H, W)``; not modified.

        Returns:
            Mixed: The mixed images and what is left of each.
        """
        raise NotImplementedError

    def __call__(self, images: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        if scores.ndim != 2:
            raise ValueError(
                f'scores must be of shape (batch, classes), one-hot or soft, but got {tuple(scores.shape)}'
            )
        scores = scores.float()
        if len(images) < 2:
            warnings.warn(
                f'{type(self).__name__} needs a partner for each image; a batch of one image is not mixed', stacklevel=2
            )
            return images, scores
        mixed = self.mix(images)
        return mixed.images, torch.lerp(self.partner.content(scores), scores, mixed.kept[:, None])


class MaskMix(NeighbourMix):
    """Fill the masked region of each image from another one and mix their labels by its area.

    CutMix (arXiv 1905.04899) with any pattern: :class:`.PatchPattern` is CutMix itself, with a rectangle for each image
    instead of one for the batch. For mmpretrain's ``train_cfg=dict(augments=[...])``, beside Mixup and CutMix, and for
    :class:`.MixMaskMoCo` and its kin. The partner of an image is its neighbour in the batch, never itself; see
    :class:`NeighbourMix`.

    Args:
        pattern (dict | Pattern | MixturePattern): Where to mix; ``ratio``, or the square of ``scale``, is the share of
            the partner. A mixture draws patterns, and shares, for each image, and leaves some unmixed.

    Raises:
        TypeError: If ``pattern`` is no pattern.
        ValueError: If the pattern asks for scores, or the images are too small for the cells.

    Example:
        >>> augment = dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=16))
        >>> model = dict(type='ImageClassifier', ..., train_cfg=dict(augments=[augment]))  # doctest: +SKIP
    """

    def __init__(self, pattern: dict | Pattern | MixturePattern) -> None:
        self.pattern = build_pattern(pattern, ('images',))
        parts = getattr(self.pattern, 'patterns', [self.pattern])
        self.cells = tuple(sorted({cell for part in parts for cell in part.cell}))

    def mix(self, images: Tensor) -> Mixed:
        """Fill where the pattern masks; see :meth:`NeighbourMix.mix`."""
        height, width = images.shape[-2:]
        draw = draw_masks(self.pattern, images)
        mask = draw.pixel_mask(height, width, packed_channels(images))
        # The share of the image, not of the base grid: what does not divide stays unmixed.
        kept = 1 - draw.mask.flatten(1).sum(1) * (draw.base**2 / (height * width))
        return Mixed(self.partner(images, mask), kept, mask)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(pattern={self.pattern})'


class UnMix(NeighbourMix):
    """Mix each image with its neighbour as Un-Mix does: blended (Mixup) or with a rectangle of it (CutMix).

    The share of the partner is drawn for each image from Beta(alpha, alpha), and so is which of both is done. A
    rectangle of that share has its centre anywhere in the image and is clipped at the border; its label is mixed by the
    area that is left, 0.32 of an image on average where shares are uniform. No image is mixed with itself. Un-Mix is
    arXiv 2003.05438; to be used as :class:`MaskMix`.

    Args:
        alpha (float): Of the Beta distribution; 1 makes all shares equally likely. Defaults to 1.0.
        cut_prob (float): Probability of a rectangle, in [0, 1]: 0 is Mixup alone, 1 is CutMix alone. Defaults to 0.5.
        per_batch (bool): Whether share, kind and rectangle are drawn once for a batch, as the reference code and
            mmpretrain's augmentations do. Defaults to False: for each image.

    Raises:
        ValueError: If ``alpha`` is not positive or ``cut_prob`` is no probability.
    """

    def __init__(self, alpha: float = 1.0, cut_prob: float = 0.5, per_batch: bool = False) -> None:
        if not alpha > 0:
            raise ValueError(f'alpha must be positive, but got {alpha}')
        if not 0 <= cut_prob <= 1:
            raise ValueError(f'cut_prob must be in [0, 1], but got {cut_prob}')
        self.alpha = alpha
        self.cut_prob = cut_prob
        self.per_batch = per_batch

    def mix(self, images: Tensor) -> Mixed:
        """Blend, or put a rectangle; see :meth:`NeighbourMix.mix`."""
        device, sides, batch = images.device, images.shape[-2:], len(images)
        draws = 1 if self.per_batch else batch
        alpha = torch.full((draws,), self.alpha, device=device)
        # Unchecked: a check would wait for the device.
        share = torch.distributions.Beta(alpha, alpha, validate_args=False).sample().expand(batch)
        cut, *places = torch.rand(3, draws, device=device).expand(-1, batch)
        cut = cut < self.cut_prob
        inside, area = [], torch.ones_like(share)
        for side, place in zip(sides, places, strict=True):
            half = ((share.sqrt() * side).floor() / 2).floor()
            centre = (place * side).floor().clamp(max=side - 1)  # the product may round up
            start, end = (centre - half).clamp(min=0), (centre + half).clamp(max=side)
            pixel = torch.arange(side, device=device)
            inside.append((pixel >= start[:, None]) & (pixel < end[:, None]))
            area = area * (end - start) / side
        share = torch.where(cut, area, share)
        rectangle = inside[0][:, :, None] & inside[1][:, None]
        mask = torch.where(cut[:, None, None], rectangle.float(), share[:, None, None])
        mixed = torch.lerp(images, self.partner.content(images), mask[:, None].to(images.dtype))
        return Mixed(mixed, 1 - share, mask[:, None])

    def __repr__(self) -> str:
        once = ', per_batch=True' if self.per_batch else ''
        return f'{type(self).__name__}(alpha={self.alpha}, cut_prob={self.cut_prob}{once})'
