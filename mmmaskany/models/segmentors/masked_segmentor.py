# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Segmentors that are trained on masked images, and know which pixels are hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmmaskany.masking import Draw, Masking, draw_masks
from mmmaskany.registry import MODELS

from ..dense_masking import DenseMaskingMixin, build_masked
from ..guides import cover_of_regions
from ..host import Host


class MaskedSegmentorMixin(DenseMaskingMixin):
    """What a :func:`MaskedSegmentor` does beside its host."""

    hidden_weight = 1.0

    def heads(self) -> Iterator[Host]:
        """Yield all heads."""
        for part in (self.decode_head, getattr(self, 'auxiliary_head', None)):
            yield from part if isinstance(part, nn.ModuleList) else [] if part is None else [part]

    def loss(self, inputs: Tensor, data_samples: Sequence) -> dict[str, Tensor]:
        """Calculate the host's losses on masked images; in evaluation mode nothing is masked.

        Args:
            inputs (Tensor): The images, ``(B, C, H, W)``.
            data_samples (Sequence): mmseg's samples; never modified.

        Returns:
            dict[str, Tensor]: The losses.
        """
        if not self.training:
            return super().loss(inputs, data_samples)
        scores = None
        if self.guided is not None:
            scores = cover_of_regions(self._guiding(data_samples, self.guided.classes), self.guided.cell[0])
        draw = draw_masks(self.masking.pattern, inputs, scores=scores)
        seen = self.see(inputs, draw)
        if self.hidden_weight == 1:
            return super().loss(seen, data_samples)
        if self.hidden_weight == 0:
            return super().loss(seen, self._without_hidden(data_samples, draw))
        hidden = draw.pixel_mask(*inputs.shape[-2:])[:, 0]
        with self._weighed(torch.where(hidden, self.hidden_weight, 1.0)):
            return super().loss(seen, data_samples)

    def _guiding(self, data_samples: Sequence, classes: tuple[int, ...] | None) -> Tensor:
        """Return the pixels of the labelled regions that guide the masks, bool ``(B, H, W)``."""
        labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])[:, 0]
        if classes is not None:
            return torch.isin(labels, labels.new_tensor(classes))
        return (labels >= 0) & (labels < self.num_classes)

    def _without_hidden(self, data_samples: Sequence, draw: Draw) -> list:
        """Return the samples with the hidden pixels ignored."""
        samples = []
        for sample, hidden in zip(
            data_samples, draw.pixel_mask(*data_samples[0].gt_sem_seg.data.shape[-2:]), strict=True
        ):
            new = sample.new()
            ignored = self.decode_head.ignore_index
            new.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data.masked_fill(hidden, ignored))
            samples.append(new)
        return samples

    @contextmanager
    def _weighed(self, weights: Tensor) -> Iterator[None]:
        """Weigh the pixels of all heads, as mmseg's samplers do."""
        heads = list(self.heads())
        samplers = [head.sampler for head in heads]
        for head in heads:
            head.sampler = _Weights(weights, head.sampler)
        try:
            yield
        finally:
            for head, sampler in zip(heads, samplers, strict=True):
                head.sampler = sampler


class _Weights:
    """Weights of pixels in the place of a sampler, times those of the sampler."""

    def __init__(self, weights: Tensor, sampler: Host) -> None:
        self.weights = weights
        self.sampler = sampler

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """Return the weight of each pixel, ``(B, H, W)``."""
        return self.weights if self.sampler is None else self.weights * self.sampler.sample(seg_logit, seg_label)


def _check_weighing(model: MaskedSegmentorMixin) -> None:
    """Raise a ValueError unless the losses of all heads can be weighed pixel by pixel."""
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.models.losses import CrossEntropyLoss

    for head in model.heads():
        kind = type(head)
        losses = getattr(head, 'loss_decode', None)
        losses = list(losses) if isinstance(losses, nn.ModuleList) else [losses]
        weighed = isinstance(head, BaseDecodeHead) and kind.loss_by_feat is BaseDecodeHead.loss_by_feat
        if not weighed or not all(isinstance(loss, CrossEntropyLoss) for loss in losses):
            names = ', '.join(type(loss).__name__ for loss in losses)
            raise ValueError(
                'hidden_weight between 0 and 1 needs losses that weigh pixels, so every head must have the losses of '
                f'BaseDecodeHead and these be CrossEntropyLoss, but got {kind.__name__} with {names}: take 0, which '
                'ignores hidden pixels, or 1'
            )


@MODELS.register_module()
def MaskedSegmentor(
    masking: dict | Masking | None = None,
    hidden_weight: float = 1.0,
    host: str | type = 'mmseg.EncoderDecoder',
    **kwargs: Any,
) -> nn.Module:
    """Build a segmentor of mmseg that is trained on masked images, and knows which pixels are hidden.

    The masking is that of :func:`.MaskAny` backbones, which here is the segmentor's, because what it hides concerns the
    labels. Nothing is masked at test time, and all weights have the host's names.

    Args:
        masking (dict | Masking): ``dict(pattern=..., fill=..., reuse=True)``; ``reuse`` needs a MaskAny backbone, with
            ``masking=None`` of its own. Must be given.
        hidden_weight (float): Weight of the loss of a hidden pixel, in [0, 1]; that of others is 1. At 0 hidden pixels
            are ignored, as unlabelled ones are, whatever the losses. Losses are averaged over as many pixels as ever,
            but for ``avg_non_ignore`` of a loss at 0. Defaults to 1.
        host (str | type): The segmentor's type. Defaults to 'mmseg.EncoderDecoder'.
        **kwargs: The host's arguments.

    Returns:
        nn.Module: The segmentor, of a class derived from the host's.

    Raises:
        ImportError: If mmsegmentation is not installed.
        KeyError: If the host is not known.
        TypeError: If masking is missing, the host is no such segmentor, or a part is none of its kind.
        ValueError: If the losses cannot be weighed, the masking does not go with the backbone, or an option is out of
            range.
    """
    try:
        from mmseg.models.segmentors import EncoderDecoder
    except ImportError as error:
        raise ImportError(f'MaskedSegmentor needs mmsegmentation: {error}') from error
    if not 0 <= hidden_weight <= 1:
        raise ValueError(f'hidden_weight must be in [0, 1], but got {hidden_weight}')
    model = build_masked(host, MaskedSegmentorMixin, EncoderDecoder, kwargs)
    model.set_masking(masking)
    model.hidden_weight = hidden_weight
    if 0 < hidden_weight < 1:
        _check_weighing(model)
    ignored = [head.ignore_index for head in model.heads()]
    if hidden_weight == 0 and (None in ignored or len(set(ignored)) > 1):
        raise ValueError(
            f'hidden_weight=0 needs one ignore_index in all heads, which hidden pixels get, but got {ignored}'
        )
    return model
