# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Relaxed targets for each pixel: a map of logits learns from another one (MaskSub, arXiv 2306.11339)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..host import Host


def relaxed_pixel_loss(
    loss: Host, score: Tensor, teacher: Tensor, valid: Tensor, align_corners: bool = False
) -> Tensor:
    """Calculate mmseg's cross entropy of a map of logits against another one, at the size of the labels.

    The target of a pixel is the softmax of the teacher, or its sigmoid where the loss is a binary cross entropy; it
    passes no gradient on. Weights of classes, reduction and what the mean is taken over are the loss's own: where the
    teacher is certain of the labels, it is the loss of the labels.

    No map of the size of the labels is kept for the backward pass: the gradient is calculated here.

    Args:
        loss (Host): A ``CrossEntropyLoss`` of mmseg.
        score (Tensor): The logits that learn, ``(B, classes, h, w)``.
        teacher (Tensor): The logits that they learn from, ``(B, classes, h, w)``.
        valid (Tensor): Which pixels of the labels count, bool ``(B, H, W)``; the others are ignored.
        align_corners (bool): How the head resizes its logits to the labels. Defaults to False.

    Returns:
        Tensor: The loss, reduced and weighted as the head's own; maps that are not reduced are averaged.
    """

    def resize(logits: Tensor) -> Tensor:
        return F.interpolate(logits, valid.shape[1:], mode='bilinear', align_corners=align_corners)

    def calculate(logits: Tensor) -> Tensor:
        weight = None if loss.class_weight is None else logits.new_tensor(loss.class_weight)
        counts, logits = valid.to(logits.dtype), resize(logits)
        with torch.no_grad():
            target = resize(teacher.float())
            target = target.sigmoid() if loss.use_sigmoid else target.softmax(1)
        if loss.use_sigmoid:
            weight = None if weight is None else weight.view(-1, 1, 1)
            values = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction='none')
            counts = counts[:, None].expand_as(values)
            total = counts.sum() if loss.avg_non_ignore else values.numel()
        else:
            values = F.cross_entropy(logits, target, weight, reduction='none')
            if weight is None:
                total = counts.sum() if loss.avg_non_ignore else values.numel()
            else:  # a pixel counts as much as its classes weigh
                weights = torch.einsum('bchw,c->bhw', target, weight)
                total = (weights * counts if loss.avg_non_ignore else weights).sum()
        values = values * counts
        if loss.reduction == 'mean':
            return loss.loss_weight * values.sum() / (total + torch.finfo(torch.float32).eps)
        return loss.loss_weight * (values.sum() if loss.reduction == 'sum' else values.mean())

    score = score.float()
    return _GradientAtOnce.apply(score, calculate) if score.requires_grad else calculate(score)


class _GradientAtOnce(torch.autograd.Function):
    """A scalar function whose gradient is calculated with it: only that, and nothing in between, is kept."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            value = value.detach().requires_grad_()
            result = function(value)
        ctx.save_for_backward(*torch.autograd.grad(result, value))
        return result.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (own,) = ctx.saved_tensors
        return gradient * own, None
