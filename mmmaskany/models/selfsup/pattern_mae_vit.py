# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

from typing import Any

import torch
from mmpretrain.models.selfsup import MAEViT
from torch import Tensor

from mmmaskany.builder import build_pattern
from mmmaskany.masking import MixturePattern, Pattern, draw_masks, kept_first
from mmmaskany.registry import MODELS


@MODELS.register_module()
class PatternMAEViT(MAEViT):
    """The encoder of MAE (arXiv 2111.06377) with any pattern in place of uniformly random tokens.

    Comparing with :class:`mmpretrain.models.MAEViT`, the pattern says which tokens are dropped, and how many.
    :class:`.RandomPattern` with ``ratio=0.75`` is MAE itself, :class:`.NoisePattern` is ColorMAE (arXiv 2407.13036).

    Args:
        pattern (dict | Pattern | MixturePattern): Where to mask. Its ``base`` must be the side of a patch, and it must
            mask as many tokens of every image: one cell size, and of a mixture probabilities that sum to 1.
        **kwargs: Arguments of :class:`mmpretrain.models.MAEViT` other than ``mask_ratio``.

    Raises:
        TypeError: If ``pattern`` is no pattern.
        ValueError: If the pattern does not suit the patches, masks no or every token, or not as many of every image,
            or asks for scores; or if ``mask_ratio`` is given.
    """

    #: As many tokens are masked of every image.
    equal_counts = True
    #: What the tokens are made of, while they are.
    _images: Tensor | None = None

    def __init__(self, pattern: dict | Pattern | MixturePattern, **kwargs: Any) -> None:
        if 'mask_ratio' in kwargs:
            raise ValueError(
                f'the pattern must say how much is masked, but got mask_ratio={kwargs["mask_ratio"]}: give it as the '
                "pattern's `ratio`"
            )
        super().__init__(**kwargs)
        self.pattern = build_pattern(pattern, ('images',))
        patch = tuple(size // number for size, number in zip(self.img_size, self.patch_resolution, strict=True))
        if patch != (self.pattern.base, self.pattern.base):
            raise ValueError(f'the base of the pattern must be the side of a patch, {patch} px, but got {self.pattern}')
        self.mask_ratio = self.pattern.masked_cells(*self.img_size) / self.num_patches

    def forward(self, x: Tensor, mask: bool | None = True) -> tuple[Tensor, ...]:
        """Encode images as the host does; see there."""
        self._images = x
        try:
            return super().forward(x, mask)
        finally:
            self._images = None

    def random_masking(self, x: Tensor, mask_ratio: float = 0.75) -> tuple[Tensor, Tensor, Tensor]:
        """Drop the tokens that the pattern masks.

        Args:
            x (Tensor): Tokens, ``(B, L, C)``.
            mask_ratio (float): Not used: the pattern knows. Defaults to 0.75.

        Returns:
            tuple[Tensor, Tensor, Tensor]: The visible tokens in the order of the image; the mask, float ``(B, L)``,
            0 is keep, 1 is remove; and where each token of the image is among the visible ones followed by the masked
            ones, long ``(B, L)``.
        """
        images = x.new_empty(len(x), 0, *self.img_size) if self._images is None else self._images
        mask = draw_masks(self.pattern, images).refine(self.pattern.base, *self.img_size).mask.flatten(1)
        order = kept_first(mask)
        kept = order[:, : x.shape[1] - self.pattern.masked_cells(*self.img_size), None]
        return x.gather(1, kept.expand(-1, -1, x.shape[2])), mask.to(torch.float), order.argsort(1)
