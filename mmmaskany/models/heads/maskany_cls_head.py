# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Linear classifier on the fused feature, with optional losses on each branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from mmmaskany.registry import MODELS

from .relaxed_targets import relaxed_loss, soft_criterion

TARGETS = ('hard', 'relaxed')


@MODELS.register_module()
class MaskAnyClsHead(LinearClsHead):
    """Linear classification head for a network with a visible and a reused branch.

    Comparing with :class:`mmpretrain.models.LinearClsHead`,

    1. It predicts from the fused feature, the last one, in the same way: the parameters and their names are the
       same, and with both weights 0 so is everything else.
    2. It adds ``loss_visible`` and ``loss_reused``: the same classifier on the last feature of each branch. They
       come from :class:`.MaskAnyNeck` with ``with_branches=True``. The main ``loss`` is not scaled.

    Relaxed targets are the fused prediction, detached, as in MaskSub (arXiv 2306.11339): its softmax, or its
    sigmoid where the loss is a binary cross entropy. They are not smoothed again.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the features.
        visible_weight (float): Weight of the visible branch's loss; 0 leaves it out. Defaults to 0.
        reused_weight (float): Weight of the reused branch's loss; 0 leaves it out. Defaults to 0.
        targets (str): What the branches learn: 'hard', the labels, or 'relaxed'. Defaults to 'hard'.
        **kwargs: Arguments of :class:`mmpretrain.models.LinearClsHead`.

    Shape:
        - feats: a tuple whose last item is the fused feature, ``(B, in_channels)``; where a branch has a loss,
          ``(*visible, *reused, *fused)`` of L features each.

    Raises:
        ValueError: If a weight is negative, ``targets`` unknown, the loss takes no relaxed targets, or the
            features hold no branches although a branch has a loss.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        visible_weight: float = 0.0,
        reused_weight: float = 0.0,
        targets: str = 'hard',
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, in_channels=in_channels, **kwargs)
        for name, weight in (('visible_weight', visible_weight), ('reused_weight', reused_weight)):
            if weight < 0:
                raise ValueError(f'{name} must be at least 0, but got {weight}')
        if targets not in TARGETS:
            raise ValueError(f'targets must be one of {TARGETS}, but got {targets!r}')
        self.visible_weight = visible_weight
        self.reused_weight = reused_weight
        self.targets = targets
        if targets == 'relaxed':
            soft_criterion(self.loss_module)

    def loss(self, feats: Sequence[Tensor], data_samples: list[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Calculate the loss of the fused prediction and of each branch that has a weight.

        Args:
            feats (Sequence[Tensor]): The features, see the class.
            data_samples (list[DataSample]): The samples with their ``gt_label`` or ``gt_score``.
            **kwargs: Arguments of the loss module.

        Returns:
            dict[str, Tensor]: ``loss``, as the host's head calculates it, and ``loss_visible`` and ``loss_reused``
            where they have a weight.
        """
        cls_score = self(feats)
        losses = self._get_loss(cls_score, data_samples, **kwargs)
        if self.visible_weight or self.reused_weight:
            visible, reused = self._branches(feats)
            if self.visible_weight:
                loss = self._branch_loss(visible, cls_score, data_samples, **kwargs)
                losses['loss_visible'] = self.visible_weight * loss
            if self.reused_weight:
                loss = self._branch_loss(reused, cls_score, data_samples, **kwargs)
                losses['loss_reused'] = self.reused_weight * loss
        return losses

    def _branch_loss(self, feat: Tensor, fused: Tensor, data_samples: list[DataSample], **kwargs: Any) -> Tensor:
        score = self.fc(feat)
        if self.targets == 'hard':
            return self._get_loss(score, data_samples, **kwargs)['loss']
        return relaxed_loss(self.loss_module, score, fused, **kwargs)

    def _branches(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        levels, rest = divmod(len(feats), 3)
        if rest == 0:
            visible, reused = feats[levels - 1], feats[2 * levels - 1]
            if all(torch.is_tensor(f) and f.shape == feats[-1].shape for f in (visible, reused)):
                return visible, reused
        raise ValueError(
            'a loss on a branch needs the features of the visible, the reused and the fused branch, as MaskAnyNeck '
            f'returns them with with_branches=True, but got {len(feats)} feature(s) of shapes '
            f'{[tuple(f.shape) for f in feats]}'
        )
