# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

import warnings

from torch import Tensor

from mmmaskany.masking import ImageFill, MixturePattern, Pattern
from mmmaskany.masking.draw import packed_channels

from ..masking import build_pattern


class MaskMix:
    """Fill the masked region of each image from another one and mix their labels by its area.

    CutMix (arXiv 1905.04899) with any pattern: :class:`PatchPattern` is CutMix itself, with a rectangle for each image
    instead of one for the batch. For mmpretrain's ``train_cfg=dict(augments=[...])``, beside Mixup and CutMix. The
    partner of an image is its neighbour in the batch, never itself. A batch of one has no partner and passes as it is,
    with a warning, because it may be the last one of an epoch.

    All random numbers come from torch, on the device of the images.

    Args:
        pattern (dict | Pattern | MixturePattern): Where to mix; ``ratio``, or the square of ``scale``, is the share of
            the partner. A mixture draws patterns, and shares, for each image, and leaves some unmixed.

    Shape:
        - images: ``(B, C, H, W)``, never modified.
        - scores: ``(B, num_classes)``, one-hot or soft.
        - output: both, mixed, the scores as float.

    Raises:
        TypeError: If ``pattern`` is no pattern.
        ValueError: If the scores do not have two dimensions, or the images are too small for the cells.

    Example:
        >>> augment = dict(type='mmmaskany.MaskMix', pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=16))
        >>> model = dict(type='ImageClassifier', ..., train_cfg=dict(augments=[augment]))  # doctest: +SKIP
    """

    def __init__(self, pattern: dict | Pattern | MixturePattern) -> None:
        self.pattern = build_pattern(pattern)
        self.fill = ImageFill()

    def __call__(self, images: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        if scores.ndim != 2:
            raise ValueError(
                f'scores must be of shape (batch, classes), one-hot or soft, but got {tuple(scores.shape)}'
            )
        scores = scores.float()
        if len(images) < 2:
            warnings.warn('MaskMix needs a partner for each image; a batch of one image is not mixed', stacklevel=2)
            return images, scores
        height, width = images.shape[-2:]
        draw = self.pattern.draw(len(images), height, width, device=images.device)
        mixed = self.fill(images, draw.pixel_mask(height, width, packed_channels(images)))
        # The share of the image, not of the base grid: what does not divide stays unmixed.
        share = draw.mask.flatten(1).sum(1, keepdim=True) * (draw.base**2 / (height * width))
        return mixed, (1 - share) * scores + share * self.fill.content(scores)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(pattern={self.pattern})'
