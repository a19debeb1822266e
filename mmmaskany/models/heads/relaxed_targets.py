# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Relaxed targets: a prediction learns from another one, instead of from the labels (MaskSub, arXiv 2306.11339)."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.losses import CrossEntropyLoss, LabelSmoothLoss
from torch import Tensor, nn

from ..losses import BinaryTargetLoss


def soft_criterion(loss: nn.Module) -> tuple[CrossEntropyLoss, float]:
    """Return the cross entropy inside a head's loss, before any smoothing, and its weight.

    Args:
        loss (nn.Module): The ``loss_module`` of a head.

    Returns:
        tuple[CrossEntropyLoss, float]: Both.

    Raises:
        ValueError: If the loss takes no probabilities.
    """
    if isinstance(loss, LabelSmoothLoss):
        return loss.ce, loss.loss_weight
    if isinstance(loss, CrossEntropyLoss):
        return loss, 1.0
    raise ValueError(
        'a relaxed target needs a loss that takes probabilities, CrossEntropyLoss or LabelSmoothLoss, but got '
        f'{type(loss).__name__}, which needs hard labels'
    )


def relaxed_loss(loss: nn.Module, score: Tensor, teacher: Tensor, **kwargs: Any) -> Tensor:
    """Calculate the loss of a prediction against another one.

    The target is the softmax of the teacher, or its sigmoid where the loss is a binary cross entropy; it passes no
    gradient on and is not smoothed again.

    Args:
        loss (nn.Module): The ``loss_module`` of a head, see :func:`soft_criterion`.
        score (Tensor): The logits that learn, ``(B, classes)``.
        teacher (Tensor): The logits that they learn from, ``(B, classes)``.
        **kwargs: Arguments of the loss module.

    Returns:
        Tensor: The loss, averaged and weighted as the head's own.

    Raises:
        ValueError: If the loss takes no probabilities.
    """
    criterion, weight = soft_criterion(loss)
    teacher = teacher.detach().float()
    target = teacher.sigmoid() if criterion.use_sigmoid else teacher.softmax(1)
    calculate = criterion.relaxed if isinstance(criterion, BinaryTargetLoss) else criterion
    return weight * calculate(score, target, avg_factor=len(score), **kwargs)
