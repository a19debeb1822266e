# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masking in the data pipeline: each sample becomes a visible and a reused image, as in MaskAnyNet's own code.

The order of that code (arXiv 2511.12480) is masks first, on the image as it was loaded, then each view's own resizing::

    dict(type='LoadImageFromFile'),
    dict(type='mmmaskany.MaskRegions', pattern=dict(...)),       # img -> img (visible), reused_img, masked
    dict(type='RandomResizedCrop', scale=224),                   # the visible view alone
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),   # the visible view alone
    dict(type='mmmaskany.AugmentReused', policy='imagenet'),     # the reused view alone, at last half the visible size
    dict(type='mmmaskany.PackMaskAnyInputs'),

A library's transform works on ``img``: before ``MaskRegions`` on what both views are made of, after it on the visible
view only. So where both views are to show the same crop, flipped alike, as they do at test time, the geometric
transforms go in front; the sizes of the cells are then pixels of the crop::

    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmmaskany.MaskRegions', pattern=dict(...)),
    dict(type='mmmaskany.AugmentReused', policy='imagenet'),
    dict(type='mmmaskany.PackMaskAnyInputs'),

``AugmentReused`` comes last because it halves the size that the visible view then has. Normalisation follows in
:class:`.MaskAnyDataPreprocessor`, so masked pixels are filled in units of the image: 0 is black. At test time the
pipeline is mmpretrain's, with plain images: the backbone makes the reused view itself, from the image as it is resized.
Where each view is to be resized from the image as it was loaded, at test time too, ``MaskRegions(pattern=None)`` takes
the place of the masks, with ``AugmentReused()`` after the resizing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmcv.transforms.utils import avoid_cache_randomness
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from mmmaskany.builder import build_pattern
from mmmaskany.masking import MixturePattern, Pattern, reused_size
from mmmaskany.registry import TRANSFORMS

from .rectangles import mask_image

#: The policies of torchvision's AutoAugment.
POLICIES = [policy.value for policy in AutoAugmentPolicy]


@TRANSFORMS.register_module()
@avoid_cache_randomness
class MaskRegions(BaseTransform):
    """Mask regions of an image and recompose them into a second one.

    All random numbers come from torch's global generator.

    **Required Keys:**

    - img

    **Modified Keys:**

    - img: the visible image; the array that was given is never modified.

    **Added Keys:**

    - reused_img: the recomposed regions, not resized; of an unmasked sample the whole image.
    - masked (bool): Whether the sample is masked.

    Args:
        pattern (dict | Pattern | MixturePattern | None): Where to mask. One that looks at images gets the image as it
            is at this place of the pipeline, in floating point. None masks nothing, so that the reused view is the
            whole image as it is here: what tests a network whose views are resized apart.
        fill (float | Sequence[float]): What stays in masked pixels, a number or one per channel, in the order and
            units of the image. Defaults to 0, black.
        reuse (bool): Whether the reused view shows the masked regions. False is the ablation of it: the same
            masks, but what they hide is lost, and the reused view is the visible image. Defaults to True.

    Raises:
        TypeError: If ``pattern`` is no pattern, or the image no array.
        ValueError: If ``reuse`` is no bool, or asked of a pattern without ``scale``, the pattern asks for scores, or
            the image is too small for the cells.
    """

    def __init__(
        self,
        pattern: dict | Pattern | MixturePattern | None,
        fill: float | Sequence[float] = 0,
        reuse: bool = True,
    ) -> None:
        if reuse not in (True, False):
            raise ValueError(
                f'reuse must be True or False in a data pipeline, but got {reuse!r}: a ready pair brings no draw by '
                'which features could be put back, and its views are resized apart. Mask in the model instead, by '
                '`masking` of the backbone'
            )
        self.pattern = None if pattern is None else build_pattern(pattern, ('images',))
        if reuse and self.pattern is not None and self.pattern.scale is None:
            raise ValueError(
                f'the reused view needs a pattern with a `scale`, but got {self.pattern}; give a scale, or reuse=False'
            )
        self.fill = fill
        self.reuse = reuse

    def transform(self, results: dict) -> dict:
        """Mask ``results['img']``."""
        image = results['img']
        if not isinstance(image, np.ndarray):
            raise TypeError(f'MaskRegions needs an image as a numpy array, but got {type(image).__name__}')
        pattern = None if self.pattern is None else self.pattern.pick()
        views = None if pattern is None else mask_image(pattern, image, self.fill, self.reuse)
        results['masked'] = views is not None
        if views is None:
            results['reused_img'] = image.copy()  # a later transform may write into either view
            return results
        visible, canvas = views
        results['img'] = visible
        results['reused_img'] = canvas if self.reuse else visible.copy()
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(pattern={self.pattern}, fill={self.fill}, reuse={self.reuse})'


@TRANSFORMS.register_module()
@avoid_cache_randomness
class TorchvisionAutoAugment(BaseTransform):
    """torchvision's AutoAugment of an image: mmpretrain's own knows the policy for ImageNet alone.

    All random numbers come from torch's global generator.

    **Required Keys:**

    - img

    **Modified Keys:**

    - img

    Args:
        policy (str): 'cifar10', 'imagenet' or 'svhn'.
        bgr (bool): Whether the channels of the image are in the order of OpenCV; AutoAugment's colours are those of
            RGB. Defaults to True.

    Raises:
        ValueError: If the policy is unknown.
    """

    def __init__(self, policy: str, bgr: bool = True) -> None:
        if policy not in POLICIES:
            raise ValueError(f'policy must be one of {POLICIES}, but got {policy!r}')
        self.policy = policy
        self.bgr = bgr
        self._augment = AutoAugment(AutoAugmentPolicy(policy))

    def transform(self, results: dict) -> dict:
        """Augment ``results['img']``."""
        image = results['img']
        augmented = np.asarray(self._augment(Image.fromarray(image[..., ::-1] if self.bgr else image)))
        results['img'] = np.ascontiguousarray(augmented[..., ::-1] if self.bgr else augmented)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(policy={self.policy!r}, bgr={self.bgr})'


@TRANSFORMS.register_module()
@avoid_cache_randomness
class AugmentReused(BaseTransform):
    """Augment the reused view of unmasked samples, and resize that of all samples to half the visible size.

    What a mask shows of an image is augmentation enough; an unmasked sample's reused view would be nothing but the
    visible one, smaller (MaskAnyNet, arXiv 2511.12480).

    **Required Keys:**

    - img
    - reused_img
    - masked

    **Modified Keys:**

    - reused_img

    Args:
        policy (str | Sequence[dict | Callable] | None): The augmentation of unmasked samples: 'cifar10', 'imagenet'
            or 'svhn' for that policy of torchvision's AutoAugment, or a list of transforms, which find the reused
            view as ``img``. None does not augment. Defaults to None.
        bgr (bool): Whether the channels of the image are in the order of OpenCV, for AutoAugment. Defaults to True.
        interpolation (str): How to resize, as in mmcv's ``imresize`` by PIL, which antialiases as the reference does.
            Images that are not 8-bit are left to OpenCV, which does not. Defaults to 'bilinear'.

    Raises:
        ValueError: If the policy is unknown.
        KeyError: If there is no reused view.
    """

    def __init__(
        self,
        policy: str | Sequence[dict | Callable] | None = None,
        bgr: bool = True,
        interpolation: str = 'bilinear',
    ) -> None:
        if (
            policy is not None
            and policy not in POLICIES
            and (isinstance(policy, str) or not isinstance(policy, Sequence))
        ):
            raise ValueError(f'policy must be one of {POLICIES} or a list of transforms, but got {policy!r}')
        self.policy = policy
        self.bgr = bgr
        self.interpolation = interpolation
        if isinstance(policy, str):
            self._transforms = TorchvisionAutoAugment(policy, bgr)
        else:
            self._transforms = Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in policy or ()])

    def transform(self, results: dict) -> dict:
        """Augment and resize ``results['reused_img']``."""
        if 'reused_img' not in results:
            raise KeyError(f'AugmentReused needs reused_img, which MaskRegions adds, but got {sorted(results)}')
        image = results['reused_img']
        if not results['masked']:
            image = self._transforms(dict(img=image, img_shape=image.shape[:2]))['img']
        height, width = reused_size(*results['img'].shape[:2])
        if image.shape[:2] != (height, width):
            # PIL's filter grows with what it shrinks, so that no pixel is passed over; it takes 8-bit images. At half
            # the size OpenCV's is the mean of each 2 x 2 pixels, which is what a model makes by itself.
            half = image.shape[:2] == (2 * height, 2 * width)
            backend = 'pillow' if image.dtype == np.uint8 and not half else 'cv2'
            image = mmcv.imresize(image, (width, height), interpolation=self.interpolation, backend=backend)
        results['reused_img'] = image
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(policy={self.policy!r}, bgr={self.bgr}, interpolation={self.interpolation!r})'
