# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import avoid_cache_randomness
from torch import Tensor

from mmmaskany.builder import build_pattern
from mmmaskany.masking import MixturePattern, ObjectPolicy, Pattern, draw_masks
from mmmaskany.registry import TRANSFORMS

from .rectangles import as_images

#: What there is of each object.
KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_masks', 'gt_ignore_flags')


@TRANSFORMS.register_module()
@avoid_cache_randomness
class MaskObjects(BaseTransform):
    """Mask regions of an image of mmdet, mindful of the objects that they hide; nothing is reused.

    It comes after whatever moves or resizes the image and its boxes. All random numbers come from torch's global
    generator.

    **Required Keys:**

    - img
    - gt_bboxes, unless the policy is 'keep' or by masks
    - gt_masks, if the policy is by masks

    **Modified Keys:**

    - img: the visible image; the array that was given is never modified.
    - gt_bboxes, gt_bboxes_labels, gt_masks (those that there are), with 'drop'
    - gt_ignore_flags, with 'drop' and 'ignore'

    **Added Keys:**

    - masked_share (float): Which share of the base grid is masked.

    Args:
        pattern (dict | Pattern | MixturePattern): Where to mask. One that looks at images gets the image as it is at
            this place of the pipeline, in floating point.
        fill (float | Sequence[float]): What stays in masked pixels, a number or one per channel, in the order and
            units of the image. Defaults to 0, black.
        objects (str | dict | ObjectPolicy): What becomes of objects that are hidden: a policy, or the arguments of
            :class:`mmmaskany.masking.ObjectPolicy`. The assigners of the detector must mind what is ignored.
            Defaults to 'drop'.

    Raises:
        TypeError: If ``pattern`` is no pattern.
        KeyError: If there are no boxes, or masks, for the policy.
        ValueError: If the pattern asks for scores, the policy is not known, or the image is too small for the cells.
    """

    def __init__(
        self,
        pattern: dict | Pattern | MixturePattern,
        fill: float | Sequence[float] = 0,
        objects: str | dict | ObjectPolicy = 'drop',
    ) -> None:
        self.pattern = build_pattern(pattern, ('images',))
        self.fill = fill
        self.objects = ObjectPolicy.build(objects)

    def transform(self, results: dict) -> dict:
        """Mask ``results['img']``."""
        image = results['img']
        height, width = image.shape[:2]
        draw = draw_masks(self.pattern, as_images(self.pattern, image))
        if self.objects.policy != 'keep':
            objects = self._objects(results)
            counts = ~torch.from_numpy(self._ignored(results, len(objects)))
            draw = self.objects.correct(draw, [objects[counts]])
            if self.objects.policy in ('drop', 'ignore'):
                (hidden,) = self.objects.hidden(draw, [objects])
                self._lose(results, (hidden & counts).numpy())
        mask = draw.pixel_mask(height, width)[0, 0].numpy()
        visible = image.copy()
        visible[mask] = self.fill
        results['img'] = visible
        results['masked_share'] = draw.ratio.item()
        return results

    def _objects(self, results: dict) -> Tensor:
        key = {'boxes': 'gt_bboxes', 'masks': 'gt_masks'}[self.objects.by]
        if key not in results:
            raise KeyError(
                f'objects={self.objects.policy!r} by {self.objects.by} needs {key}, but got {sorted(results)}: load '
                "them by LoadAnnotations, or take objects='keep'"
            )
        found = results[key]
        if self.objects.by == 'masks':
            return torch.from_numpy(found.to_ndarray()).bool()
        return torch.as_tensor(getattr(found, 'tensor', found)).view(-1, 4)

    def _ignored(self, results: dict, count: int) -> np.ndarray:
        return np.asarray(results.get('gt_ignore_flags', np.zeros(count)), dtype=bool)

    def _lose(self, results: dict, lost: np.ndarray) -> None:
        """Ignore some of the objects, or leave them out."""
        if self.objects.policy == 'ignore':
            results['gt_ignore_flags'] = self._ignored(results, len(lost)) | lost
            return
        kept = np.flatnonzero(~lost)
        results.update({key: results[key][kept] for key in KEYS if key in results})

    def __repr__(self) -> str:
        return f'{type(self).__name__}(pattern={self.pattern}, fill={self.fill}, objects={self.objects})'
