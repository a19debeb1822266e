# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskSub for detection: a masked sub-branch that learns classes, boxes and masks from the main branch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmmaskany.masking import Views
from mmmaskany.registry import MODELS

from ..dense_masking import build_masked
from ..host import Host
from ..sub_branch import SubBranchMixin
from .relaxed_targets import Call, recording, replaying


class MaskSubDetectorMixin(SubBranchMixin):
    """What a :func:`MaskSubDetector` does beside its host."""

    def criteria(self) -> dict[str, nn.Module]:
        """Return the losses of all heads by their names."""
        names = ('loss_cls', 'loss_bbox', 'loss_mask')
        return {
            name: module for name, module in self.named_modules() if '.' in name and name.rpartition('.')[2] in names
        }

    def main_loss(self, inputs: Tensor | Views, data_samples: Sequence) -> tuple[dict, dict]:
        """Calculate the losses of the main branch.

        Args:
            inputs (Tensor | Views): The images, or a ready pair for a MaskAny backbone.
            data_samples (Sequence): mmdet's samples.

        Returns:
            tuple[dict, dict]: What the host returns, losses halved; and the calls of its losses with its sampled
            proposals.
        """
        calls: dict[str, list[Call]] = {}
        sampled: list = []
        with recording(self.criteria(), calls), _sampling(self, sampled):
            losses = super(SubBranchMixin, self).loss(inputs, data_samples)
        return _halved(losses), dict(calls=calls, sampled=sampled)

    def sub_loss(self, inputs: Tensor | Views, scores: dict, data_samples: Sequence) -> dict:
        """Calculate the losses of the masked sub-branch.

        Args:
            inputs (Tensor | Views): What the main branch saw.
            scores (dict): What the main branch predicted, for which anchors and proposals.
            data_samples (Sequence): mmdet's samples, which say how many predictions there are.

        Returns:
            dict: The losses of each head, halved, such as ``sub.loss_cls``.
        """
        calls: dict[str, list[Call]] = scores['calls']
        with self.sub_branch(inputs) as images, replaying(self.criteria(), calls):
            feats = self.extract_feat(images)
            if scores['sampled']:
                losses = self._sub_loss_of_two_stages(feats, scores['sampled'][0], data_samples)
            else:
                losses = self.bbox_head.loss(feats, data_samples)
        return {f'sub.{name}': value for name, value in _halved(losses).items() if 'loss' in name}

    def _sub_loss_of_two_stages(self, feats: Sequence[Tensor], sampled: list, data_samples: Sequence) -> dict:
        """Calculate what the host does, for the proposals of the main branch."""
        samples = copy.deepcopy(list(data_samples))
        for sample in samples:  # a proposal is of no class
            sample.gt_instances.labels = torch.zeros_like(sample.gt_instances.labels)
        losses = self.rpn_head.loss(feats, samples)
        losses = {name if 'rpn' in name else f'rpn_{name}': value for name, value in losses.items()}
        found = self.roi_head.bbox_loss(feats, sampled)
        losses.update(found['loss_bbox'])
        if self.roi_head.with_mask:
            instances = [sample.gt_instances for sample in data_samples]
            losses.update(self.roi_head.mask_loss(feats, sampled, found['bbox_feats'], instances)['loss_mask'])
        return losses


class _sampling:
    """Keep which proposals the second stage of a detector samples, within a context."""

    def __init__(self, model: nn.Module, sampled: list) -> None:
        self.head = getattr(model, 'roi_head', None)
        self.sampled = sampled

    def __enter__(self) -> None:
        if self.head is not None:
            own = self.head.bbox_loss

            def bbox_loss(feats: Sequence[Tensor], results: list) -> dict:
                self.sampled.append(results)
                return own(feats, results)

            self.head.bbox_loss = bbox_loss

    def __exit__(self, *error: object) -> None:
        if self.head is not None:
            del self.head.bbox_loss  # the method of its class is there again


def _halved(losses: dict) -> dict:
    """Halve losses, which may be lists of them."""

    def half(value: Any) -> Any:
        return [half(each) for each in value] if isinstance(value, (list, tuple)) else 0.5 * value

    return {name: half(value) if 'loss' in name else value for name, value in losses.items()}


def _check(model: Host) -> None:
    """Raise a ValueError unless a detector is one of those whose losses are known."""
    from mmdet.models.dense_heads import RetinaHead, RPNHead
    from mmdet.models.detectors import FasterRCNN, MaskRCNN, RetinaNet
    from mmdet.models.losses import CrossEntropyLoss, FocalLoss
    from mmdet.models.roi_heads import StandardRoIHead

    host = next(kind for kind in type(model).__mro__ if kind.__module__.startswith('mmdet.'))
    parts = (
        [(model.bbox_head, RetinaHead)]
        if host is RetinaNet
        else [(model.rpn_head, RPNHead), (model.roi_head, StandardRoIHead)]
        if host in (FasterRCNN, MaskRCNN)
        else []
    )
    wrong = [type(part).__name__ for part, kind in parts if type(part) is not kind]
    if not parts or wrong:
        raise ValueError(
            'MaskSubDetector takes RetinaNet with RetinaHead, and FasterRCNN and MaskRCNN with RPNHead and '
            f'StandardRoIHead, but got {host.__name__}' + (f' with {", ".join(wrong)}' if wrong else '')
        )
    for name, loss in model.criteria().items():
        known = isinstance(loss, (FocalLoss, CrossEntropyLoss)) and not getattr(loss, 'activated', False)
        if not name.endswith('loss_bbox') and not known:
            raise ValueError(
                'the sub-branch learns probabilities, so losses of classes and masks must be FocalLoss or '
                f'CrossEntropyLoss, but {name} is {type(loss).__name__}'
            )


@MODELS.register_module()
def MaskSubDetector(
    host: str | type | None = None,
    sub_masking: dict | None = None,
    sub_norm: str = 'update',
    two_passes: bool = True,
    **kwargs: Any,
) -> nn.Module:
    """Build a detector that also learns from a heavily masked view of each batch (MaskSub, arXiv 2306.11339).

    Comparing with the detector of mmdet, from which it derives,

    1. The main branch is the ordinary one: the whole image and the losses of all heads, halved.
    2. The sub-branch has the same weights, but sees the same batch masked. It learns what the main branch predicts,
       detached, for the anchors and proposals that the main branch was trained on: probabilities of classes, boxes of
       those that are assigned to an object, and in Mask R-CNN their masks; halved, too.
    3. Each branch has a backward pass of its own, so that the activations of one alone live at a time.

    Inference is the host's, and so are the names of all weights. What is logged are the host's losses, halved, and
    ``sub.loss_cls``, ``sub.loss_bbox`` ...; ``loss`` is the sum. In distributed training give
    ``model_wrapper_cfg=dict(type='mmmaskany.OwnStepDistributedDataParallel')``, see :class:`.MaskSubClassifier`.

    Args:
        host (str | type): The detector's type: ``'mmdet.RetinaNet'``, ``'mmdet.FasterRCNN'`` or ``'mmdet.MaskRCNN'``.
            Must be given.
        sub_masking (dict | SubMasking): How the sub-branch is masked: :class:`.FillCells` (any backbone) or
            :class:`.ReplacePatches`; or :class:`.RaiseDropout`, :class:`.RaiseDropPath`.
        sub_norm (str): What the sub-branch does to the running statistics of batch norms: 'update' them, or 'freeze'
            them, as the main branch left them. Defaults to 'update'.
        two_passes (bool): Whether each branch has its own backward pass. Defaults to True.
        **kwargs: The host's arguments.

    Returns:
        nn.Module: The detector, of a class derived from the host's.

    Raises:
        ImportError: If mmdet is not installed.
        KeyError: If the host is not known.
        TypeError: If the host is missing or no detector, or ``sub_masking`` is no such masking.
        ValueError: If it is another detector or has other heads or losses, if the masking does not go with the
            backbone, or an option is not known.
    """
    try:
        from mmdet.models.detectors import BaseDetector
    except ImportError as error:
        raise ImportError(f'MaskSubDetector needs mmdet: {error}') from error
    model = build_masked(host, MaskSubDetectorMixin, BaseDetector, kwargs, 'MaskSub')
    _check(model)
    model.set_sub_branch(sub_masking, sub_norm, two_passes)
    return model
