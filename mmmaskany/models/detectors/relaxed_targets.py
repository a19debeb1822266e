# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Relaxed targets of detectors: the losses of the main branch, against its predictions (MaskSub, arXiv 2306.11339).

Assignments are the main branch's own: the losses of both branches are called in the same order, for the same anchors
and proposals, so that a record of the calls is all that is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Call(NamedTuple):
    """A call of a loss in the main branch.

    Args:
        pred (Tensor): What was predicted, detached.
        target (Tensor): What it was compared with: labels, boxes or masks.
        weight (Tensor | None): The weight of each prediction; of the loss of masks, which class each mask is of.
        avg_factor (float | Tensor | None): What the sum is divided by; None for the mean.
    """

    pred: Tensor
    target: Tensor
    weight: Tensor | None
    avg_factor: float | Tensor | None


def relaxed_loss(loss: nn.Module, pred: Tensor, call: Call) -> Tensor:
    """Calculate a loss of mmdet against what the main branch predicted.

    Of a focal or a binary cross entropy the target is the sigmoid of the main branch, of another cross entropy its
    softmax; the focal weight is that of soft targets, ``|target - prediction| ** gamma`` (arXiv 2006.04388). Boxes are
    compared with those of the main branch. Weights and averages are the main branch's: where it is certain of the
    labels, and right, it is their loss.

    Args:
        loss (nn.Module): The loss.
        pred (Tensor): What the sub-branch predicts.
        call (Call): The call in the main branch.

    Returns:
        Tensor: The loss.
    """
    from mmdet.models.losses import CrossEntropyLoss, FocalLoss

    if not isinstance(loss, (FocalLoss, CrossEntropyLoss)):
        return loss.forward(pred, call.pred, call.weight, avg_factor=call.avg_factor)
    pred, teacher, weight = pred.float(), call.pred.float(), call.weight
    if getattr(loss, 'use_mask', False):
        place = torch.arange(len(pred), device=pred.device)
        pred, teacher = (logits[place, weight] for logits in (pred, teacher))
        return loss.loss_weight * F.binary_cross_entropy_with_logits(pred, teacher.sigmoid())[None]
    if loss.use_sigmoid:
        target, share = teacher.sigmoid(), pred.sigmoid()
        values = F.binary_cross_entropy_with_logits(pred, target, reduction='none')
        if isinstance(loss, FocalLoss):
            balance = loss.alpha * target + (1 - loss.alpha) * (1 - target)
            values = values * balance * (target - share).abs() ** loss.gamma
        weight = None if weight is None else weight.view(len(weight), -1)
    else:
        classes = None if loss.class_weight is None else pred.new_tensor(loss.class_weight)
        values = F.cross_entropy(pred, teacher.softmax(1), classes, reduction='none')
    values = values if weight is None else values * weight.float()
    if call.avg_factor is None:
        return loss.loss_weight * values.mean()
    return loss.loss_weight * values.sum() / (call.avg_factor + torch.finfo(torch.float32).eps)


@contextmanager
def recording(losses: dict[str, nn.Module], calls: dict[str, list[Call]]) -> Iterator[None]:
    """Record the calls of losses within the context.

    Args:
        losses (dict[str, nn.Module]): The losses.
        calls (dict[str, list[Call]]): What their calls are added to, by their names.
    """

    def hook(name: str) -> Callable:
        def record(loss: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
            calls.setdefault(name, []).append(_call(args, kwargs))

        return record

    with ExitStack() as stack:
        for name, loss in losses.items():
            stack.enter_context(loss.register_forward_hook(hook(name), with_kwargs=True))
        yield


@contextmanager
def replaying(losses: dict[str, nn.Module], calls: dict[str, list[Call]]) -> Iterator[None]:
    """Let losses compare with what the main branch predicted, call by call, within the context.

    Args:
        losses (dict[str, nn.Module]): The losses.
        calls (dict[str, list[Call]]): Their calls in the main branch, see :func:`recording`.

    Raises:
        RuntimeError: If a loss is called otherwise than in the main branch.
    """
    left = {name: list(those) for name, those in calls.items()}

    def hook(name: str) -> Callable:
        def relax(loss: nn.Module, args: tuple, kwargs: dict, output: object) -> Tensor:
            pred = _call(args, kwargs, detach=False).pred
            if not left.get(name) or left[name][0].pred.shape != pred.shape:
                raise RuntimeError(f'{name} was called for other predictions than in the main branch')
            return relaxed_loss(loss, pred, left[name].pop(0))

        return relax

    with ExitStack() as stack:
        for name, loss in losses.items():
            stack.enter_context(loss.register_forward_hook(hook(name), with_kwargs=True))
        yield


def _call(args: tuple, kwargs: dict, detach: bool = True) -> Call:
    """Read the arguments of a loss of mmdet."""
    pred, target, *rest = args
    weight = rest[0] if rest else kwargs.get('weight')
    return Call(pred.detach() if detach else pred, target, weight, kwargs.get('avg_factor'))
