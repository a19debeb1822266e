# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Detectors that are trained on masked images, and know which objects can still be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmmaskany.masking import Masking, ObjectPolicy, draw_masks
from mmmaskany.registry import MODELS

from ..dense_masking import DenseMaskingMixin, build_masked
from ..guides import cover_of_boxes


class MaskedDetectorMixin(DenseMaskingMixin):
    """What a :func:`MaskedDetector` does beside its host."""

    objects: ObjectPolicy

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence) -> dict[str, Tensor]:
        """Calculate the host's losses on masked images; in evaluation mode nothing is masked.

        Args:
            batch_inputs (Tensor): The images, ``(B, C, H, W)``.
            batch_data_samples (Sequence): mmdet's samples; never modified.

        Returns:
            dict[str, Tensor]: The losses, and for the log ``masked_share`` of the area of the images, and
            ``hidden_objects``, the share of the objects that can be seen less than the policy says.

        Raises:
            ValueError: If samples have no boxes, or no instance masks where the policy is by these.
        """
        if not self.training:
            return super().loss(batch_inputs, batch_data_samples)
        scores = None
        if self.guided is not None:
            boxes = [self._guiding(sample, self.guided.classes) for sample in batch_data_samples]
            scores = cover_of_boxes(boxes, batch_inputs.shape[-2:], self.guided.cell[0])
        draw = draw_masks(self.masking.pattern, batch_inputs, scores=scores)
        log = {}
        if self.objects.policy != 'keep':
            objects = [objects_of(sample, self.objects.by) for sample in batch_data_samples]
            draw = self.objects.correct(draw, objects)
            hidden = self.objects.hidden(draw, objects)
            log['hidden_objects'] = torch.cat([*hidden, hidden[0].new_zeros(1)]).float().sum() / max(
                1, sum(map(len, hidden))
            )
            if self.objects.policy in ('ignore', 'drop'):
                batch_data_samples = [
                    without(sample, lost, self.objects.policy == 'ignore')
                    for sample, lost in zip(batch_data_samples, hidden, strict=True)
                ]
        log['masked_share'] = draw.ratio.mean()
        return {**super().loss(self.see(batch_inputs, draw), batch_data_samples), **log}

    def _guiding(self, sample: Any, classes: tuple[int, ...] | None) -> Tensor:
        """Return the boxes of a sample that guide the masks."""
        boxes = objects_of(sample, 'boxes')
        if classes is None:
            return boxes
        labels = sample.gt_instances.labels
        return boxes[torch.isin(labels, labels.new_tensor(classes))]


def objects_of(sample: Any, by: str) -> Tensor:
    """Return the objects of a sample of mmdet.

    Args:
        sample (DetDataSample): The sample.
        by (str): 'boxes' or 'masks'.

    Returns:
        Tensor: Boxes ``(N, 4)``, or masks ``(N, H, W)``.

    Raises:
        ValueError: If it has none.
    """
    instances = sample.get('gt_instances')
    name = {'boxes': 'bboxes', 'masks': 'masks'}[by]
    found = None if instances is None else instances.get(name)
    if found is None:
        raise ValueError(
            f'hidden objects, and masks that they guide, need gt_instances with {name}, but got a sample with '
            f'{[] if instances is None else instances.keys()}: load them in the pipeline'
        )
    if by == 'boxes':
        return getattr(found, 'tensor', found)
    return found.bool() if isinstance(found, Tensor) else torch.from_numpy(found.to_ndarray()).bool()


def without(sample: Any, lost: Tensor, ignore: bool) -> Any:
    """Return a sample of mmdet without some of its objects.

    Args:
        sample (DetDataSample): The sample; never modified.
        lost (Tensor): Which of its objects go, bool ``(N,)``.
        ignore (bool): Whether their boxes are among the ignored ones.

    Returns:
        DetDataSample: The sample without them.
    """
    new, instances = sample.new(), sample.gt_instances
    lost = lost.to(getattr(instances.bboxes, 'device', lost.device))
    new.gt_instances = instances[~lost]
    if ignore:
        before = sample.get('ignored_instances')
        boxes = instances.bboxes[lost]
        if before is not None and len(before):
            boxes = boxes.cat([before.bboxes, boxes]) if hasattr(boxes, 'cat') else torch.cat([before.bboxes, boxes])
        new.ignored_instances = InstanceData(bboxes=boxes)
    return new


def _assigners(model: nn.Module) -> Iterator[tuple[str, object]]:
    """Yield what assigns boxes in a detector, with its name."""
    from mmdet.models.task_modules.assigners import BaseAssigner

    for name, module in model.named_modules():
        for key, value in vars(module).items():
            for each in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(each, BaseAssigner):
                    yield f'{name}.{key}', each


def check_ignoring(model: nn.Module) -> None:
    """Make sure that every assigner of a detector minds ignored boxes.

    Args:
        model (nn.Module): The detector.

    Raises:
        ValueError: If one does not, or there is none.
    """
    found = list(_assigners(model))
    for name, assigner in found:
        threshold = getattr(assigner, 'ignore_iof_thr', None)
        if threshold is None or threshold <= 0:
            way = (
                "knows none: take MaxIoUAssigner, as RetinaNet, Faster and Mask R-CNN have, or objects='drop'"
                if threshold is None
                else f'has ignore_iof_thr={threshold}: give ignore_iof_thr=0.5 in train_cfg'
            )
            raise ValueError(
                f"objects='ignore' needs assigners that mind ignored boxes, but {type(assigner).__name__}, {name} of "
                f'the {type(model).__name__}, {way}'
            )
    if not found:
        raise ValueError(
            f"objects='ignore' needs assigners that mind ignored boxes, but {type(model).__name__} has none: take "
            "objects='drop'"
        )


@MODELS.register_module()
def MaskedDetector(
    host: str | type | None = None,
    masking: dict | Masking | None = None,
    objects: str | dict | ObjectPolicy | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Build a detector of mmdet that is trained on masked images, and knows which objects can still be seen.

    The masking is that of :func:`.MaskAny` backbones, which here is the detector's, because what it hides concerns the
    targets. Nothing is masked at test time, and all weights have the host's names.

    Args:
        host (str | type): The detector's type, such as ``'mmdet.FasterRCNN'``. Must be given.
        masking (dict | Masking): ``dict(pattern=..., fill=..., reuse=True)``; ``reuse`` needs a MaskAny backbone, with
            ``masking=None`` of its own. Must be given.
        objects (str | dict | ObjectPolicy | None): What becomes of objects that are hidden: a policy, or the arguments
            of :class:`mmmaskany.masking.ObjectPolicy`. None is 'keep' with reuse, where what is hidden is not lost,
            and else 'drop'. Defaults to None.
        **kwargs: The host's arguments.

    Returns:
        nn.Module: The detector, of a class derived from the host's.

    Raises:
        ImportError: If mmdet is not installed.
        KeyError: If the host is not known.
        TypeError: If host or masking is missing, the host is no such detector, or a part is none of its kind.
        ValueError: If boxes cannot be ignored because an assigner does not mind them, the masking does not go with the
            backbone, or an option is not known.
    """
    try:
        from mmdet.models.detectors import BaseDetector, SemiBaseDetector
    except ImportError as error:
        raise ImportError(f'MaskedDetector needs mmdet: {error}') from error
    model = build_masked(host, MaskedDetectorMixin, BaseDetector, kwargs)
    if isinstance(model, SemiBaseDetector) or not hasattr(model, 'backbone'):
        raise TypeError(
            f'host must be a detector with a backbone, as RetinaNet, FasterRCNN and MaskRCNN are, but got {host}'
        )
    model.set_masking(masking)
    if objects is None:
        objects = 'keep' if model.masking.reuse else 'drop'
    objects = model.objects = ObjectPolicy.build(objects)
    if objects.policy == 'ignore':
        check_ignoring(model)
    return model
