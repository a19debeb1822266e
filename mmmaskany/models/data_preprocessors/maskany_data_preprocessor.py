# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Data preprocessor for plain batches and for ready pairs of a visible and a reused view."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.models.utils.batch_augments import CutMix, Mixup
from torch import Tensor

from mmmaskany.masking import Views, reused_size
from mmmaskany.registry import MODELS


@MODELS.register_module()
class MaskAnyDataPreprocessor(ClsDataPreprocessor):
    """Image pre-processor for classification that also takes the pairs of :class:`.PackMaskAnyInputs`.

    Comparing with :class:`mmpretrain.models.ClsDataPreprocessor`,

    1. A pair comes out as :class:`mmmaskany.masking.Views`, which :func:`.MaskAny` backbones take. Both views get the
       same channel order and normalisation.
    2. Mixup of a pair uses one permutation and one ratio for both views. CutMix, ResizeMix and any augmentation
       that is not Mixup are refused for pairs, because a rectangle of the visible view has no counterpart in the
       recomposed one: use them with masking in the model (``masking=`` of the backbone), which comes after them.
    3. The caller's tensors and config are never modified.

    A plain batch, in training or at test time, is processed as by the parent. Both ``default_collate`` and
    ``pseudo_collate`` work.

    Args:
        **kwargs: Arguments of :class:`mmpretrain.models.ClsDataPreprocessor`. ``pad_size_divisor`` must be 1
            for pairs.

    Shape:
        - data['inputs']: ``(B, C, H, W)`` or a list of ``(C, H, W)``; for pairs :class:`mmmaskany.masking.Views` of
          such. The reused view must be half the visible one, each side rounded up.
        - output: ``(B, C, H, W)``, or :class:`mmmaskany.masking.Views` of it and ``(B, C, ceil(H / 2), ceil(W / 2))``.

    Raises:
        TypeError: If the inputs are neither images nor :class:`mmmaskany.masking.Views`.
        ValueError: If a pair's sizes do not match, or the padding or a batch augmentation does not go with pairs.
    """

    def __init__(self, batch_augments: dict | None = None, **kwargs: Any) -> None:
        # mmpretrain appends to the list of probabilities that it is given.
        super().__init__(batch_augments=copy.deepcopy(batch_augments), **kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Process a batch.

        Args:
            data (dict): ``inputs`` and, optionally, ``data_samples``, as the data loader collated them.
            training (bool): Whether to apply the batch augmentations. Defaults to False.

        Returns:
            dict: ``inputs`` and ``data_samples`` for the classifier.
        """
        inputs = data['inputs']
        if isinstance(inputs, Views):
            return self._forward_pair(inputs, data.get('data_samples'), training)
        if not isinstance(inputs, Tensor) and not all(
            isinstance(image, Tensor) and image.ndim == 3 for image in inputs
        ):
            raise TypeError(
                'inputs must be a batch, a list of images (C, H, W), or mmmaskany.masking.Views(visible, reused), as '
                f'PackMaskAnyInputs packs them, but got {_kinds(inputs)}'
            )
        written = training and self.batch_augments is not None and not self._enable_normalize
        if written and isinstance(inputs, Tensor) and inputs.is_floating_point():
            # mmpretrain's CutMix writes into the batch, and here that would be the caller's.
            data = dict(data, inputs=inputs.clone())
        return super().forward(data, training)

    def _forward_pair(self, views: Views, data_samples: list | None, training: bool) -> dict:
        if self.pad_size_divisor != 1:
            raise ValueError(
                'pad_size_divisor must be 1 for pairs, which padding would pull apart, but got '
                f'{self.pad_size_divisor}: resize the views in the data pipeline instead'
            )
        self._check_augments()
        visible, reused, _ = views
        if len(visible) != len(reused):
            raise ValueError(
                f'a pair must hold as many visible as reused views, but got {len(visible)} and {len(reused)}'
            )
        for v, r in zip(visible, reused, strict=True):
            size = reused_size(*v.shape[-2:])
            if tuple(r.shape[-2:]) != size:
                raise ValueError(
                    f'the reused view must be half the visible one, each side rounded up, so {size} for '
                    f'{tuple(v.shape[-2:])}, but got {tuple(r.shape[-2:])}: AugmentReused resizes it'
                )
        # The parent's steps up to the batch augmentations; the labels go with the visible view.
        out = super().forward(dict(inputs=visible, data_samples=data_samples))
        visible, data_samples = out['inputs'], out['data_samples']
        reused = super().forward(dict(inputs=reused))['inputs']
        if training and self.batch_augments is not None and data_samples and 'gt_score' in data_samples[0]:
            visible, reused = self._mix(visible, reused, data_samples)
        return dict(inputs=Views(visible, reused), data_samples=data_samples)

    def _mix(self, visible: Tensor, reused: Tensor, data_samples: list) -> tuple[Tensor, Tensor]:
        """Mix both views by one call of mmpretrain's augmentation: Mixup is linear, so it may see them as one row."""
        flat = torch.cat([visible.flatten(1), reused.flatten(1)], 1)
        scores = torch.stack([sample.gt_score for sample in data_samples])
        flat, scores = self.batch_augments(flat, scores)
        for sample, score in zip(data_samples, scores, strict=True):
            sample.set_gt_score(score)
        mixed = flat.split([visible[0].numel(), reused[0].numel()], 1)
        views = zip((visible, reused), mixed, strict=True)
        first, second = (torch.empty_like(view).copy_(row.view(view.shape)) for view, row in views)
        return first, second

    def _check_augments(self) -> None:
        for augment in self.batch_augments.augments if self.batch_augments is not None else ():
            if augment is not None and (not isinstance(augment, Mixup) or isinstance(augment, CutMix)):
                raise ValueError(
                    f'of the batch augmentations only Mixup goes with pairs, but got {type(augment).__name__}: a '
                    'rectangle of the visible view has no counterpart in the recomposed one. Mask in the model '
                    '(masking= of the backbone) instead, which comes after any batch augmentation'
                )


def _kinds(inputs: Iterable) -> str:
    """Say what else was given."""
    kinds = [f'{tuple(x.shape)}' if isinstance(x, Tensor) else type(x).__name__ for x in inputs]
    return f'a {type(inputs).__name__} of {", ".join(kinds[:3])}{", ..." if len(kinds) > 3 else ""}'
