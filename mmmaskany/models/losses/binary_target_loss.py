# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

from typing import Any

from mmpretrain.models.losses import CrossEntropyLoss
from torch import Tensor

from mmmaskany.registry import MODELS


@MODELS.register_module()
class BinaryTargetLoss(CrossEntropyLoss):
    r"""Binary cross entropy whose targets are every class that a mixed label holds anything of.

    DeiT III (arXiv 2204.07118) trains so, and with it MaskSub (arXiv 2306.11339): after mixup and CutMix a target is 1
    where the soft label is above 0, whatever the share. The loss is averaged over the classes, :math:`\ln 2` for zero
    logits, which matters where gradients are clipped.

    The target of MaskSub's sub-branch, the sigmoid of the main branch, is not made binary: it is no label.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.0.

    Shape:
        - cls_score: ``(B, classes)``, logits.
        - label: ``(B, classes)``, soft labels, as mixup and CutMix make them.
        - output: scalar.

    Raises:
        ValueError: If labels are class indices: without mixing there is nothing to make binary.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(use_sigmoid=True, loss_weight=loss_weight)

    def forward(self, cls_score: Tensor, label: Tensor, **kwargs: Any) -> Tensor:
        """Calculate the loss; ``kwargs`` are those of :class:`mmpretrain.models.CrossEntropyLoss`."""
        if label.dim() != 2:
            raise ValueError(
                'BinaryTargetLoss needs soft labels (B, classes), which mixup and CutMix of train_cfg make, but got '
                f'{tuple(label.shape)}: where nothing is mixed, take CrossEntropyLoss with use_sigmoid=True'
            )
        return self.relaxed(cls_score, (label > 0).to(cls_score.dtype), **kwargs)

    def relaxed(self, cls_score: Tensor, target: Tensor, avg_factor: float | None = None, **kwargs: Any) -> Tensor:
        """Calculate the loss against probabilities as they are; averaged over ``avg_factor`` samples, or all."""
        avg_factor = len(cls_score) if avg_factor is None else avg_factor
        return super().forward(cls_score, target, avg_factor=avg_factor, **kwargs) / cls_score.shape[1]
