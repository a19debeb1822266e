# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import avoid_cache_randomness

from mmmaskany.builder import build_pattern
from mmmaskany.masking import MixturePattern, Pattern, draw_masks
from mmmaskany.registry import TRANSFORMS

from .rectangles import as_images


@TRANSFORMS.register_module()
@avoid_cache_randomness
class PatternMask(BaseTransform):
    """Draw which tokens of an image are masked, for mmpretrain's SimMIM: any pattern in place of SimMIMMaskGenerator.

    It comes after whatever changes the size of the image. All random numbers come from torch's global generator.

    **Required Keys:**

    - img

    **Added Keys:**

    - mask: int array of one number per token, 1 = masked.

    Args:
        pattern (dict | Pattern | MixturePattern): Where to mask. Its ``base`` must be the side of a token, the
            ``patch_size`` of the model; SimMIM's own masks are ``RandomPattern(ratio=0.6, cell=32, base=4)``.

    Raises:
        TypeError: If ``pattern`` is no pattern, or the image no array.
        ValueError: If the pattern asks for scores, or the image is no whole number of tokens or too small for the
            cells.
    """

    def __init__(self, pattern: dict | Pattern | MixturePattern) -> None:
        self.pattern = build_pattern(pattern, ('images',))

    def transform(self, results: dict) -> dict:
        """Draw ``results['mask']``."""
        image = results['img']
        if not isinstance(image, np.ndarray):
            raise TypeError(f'PatternMask needs an image as a numpy array, but got {type(image).__name__}')
        height, width = image.shape[:2]
        if height % self.pattern.base or width % self.pattern.base:
            raise ValueError(
                f'the image must be a whole number of tokens of {self.pattern.base} px, the base of the pattern, but '
                f'got {height} x {width} px: resize or crop it first'
            )
        draw = draw_masks(self.pattern, as_images(self.pattern, image)).refine(self.pattern.base, height, width)
        results['mask'] = draw.mask[0].numpy().astype(int)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(pattern={self.pattern})'
