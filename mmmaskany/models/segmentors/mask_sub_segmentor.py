# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskSub for semantic segmentation: a masked sub-branch that learns each pixel from the main branch."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmmaskany.masking import Views
from mmmaskany.registry import MODELS

from ..host import Host
from ..sub_branch import SubBranchMixin
from ..sub_masking import SubMasking
from .relaxed_targets import relaxed_pixel_loss

#: Some of the heads that go with it, for messages.
HEADS = 'FCNHead, FPNHead, PSPHead, ASPPHead, DepthwiseSeparableASPPHead, UPerHead and SegformerHead'


class MaskSubSegmentorMixin(SubBranchMixin):
    """What a :func:`MaskSubSegmentor` does beside mmseg's ``EncoderDecoder``."""

    def __init__(
        self, *args: Any, sub_masking: dict | SubMasking | None, sub_norm: str, two_passes: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, head in self.heads():
            _cross_entropies(name, head)  # raises where there are none
        self.set_sub_branch(sub_masking, sub_norm, two_passes)

    def heads(self) -> Iterator[tuple[str, Host]]:
        """Yield all heads, with the prefixes that the host gives to their losses: 'decode', 'aux' or 'aux_0' ..."""
        yield 'decode', self.decode_head
        if self.with_auxiliary_head:
            several = isinstance(self.auxiliary_head, nn.ModuleList)
            for index, head in enumerate(self.auxiliary_head if several else [self.auxiliary_head]):
                yield f'aux_{index}' if several else 'aux', head

    def main_loss(self, inputs: Tensor | Views, data_samples: Sequence) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Calculate the losses of the main branch.

        Args:
            inputs (Tensor | Views): The images, or a ready pair for a MaskAny backbone.
            data_samples (Sequence): mmseg's samples with the labels.

        Returns:
            tuple[dict[str, Tensor], dict[str, Tensor]]: What the host returns, losses halved; and the logits of each
            head, detached, ``(B, classes, h, w)``.
        """
        feats = self.extract_feat(inputs)
        losses, scores = {}, {}
        for name, head in self.heads():
            score = head(feats)
            scores[name] = score.detach()
            for key, value in head.loss_by_feat(score, data_samples).items():
                losses[f'{name}.{key}'] = 0.5 * value if 'loss' in key else value
        return losses, scores

    def sub_loss(self, inputs: Tensor | Views, scores: dict[str, Tensor], data_samples: Sequence) -> dict[str, Tensor]:
        """Calculate the losses of the masked sub-branch.

        Args:
            inputs (Tensor | Views): What the main branch saw.
            scores (dict[str, Tensor]): The logits of each head in the main branch.
            data_samples (Sequence): mmseg's samples: of the labels only those to ignore are looked at.

        Returns:
            dict[str, Tensor]: The cross entropies of each head, halved, such as ``sub.decode.loss_ce``.
        """
        losses: dict[str, Tensor] = {}
        with self.sub_branch(inputs) as images:
            feats = self.extract_feat(images)
            for name, head in self.heads():
                labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])[:, 0]
                valid = (labels >= 0) & (labels != (-1 if head.ignore_index is None else head.ignore_index))
                score = head(feats)
                for criterion in _cross_entropies(name, head):
                    key = f'sub.{name}.{criterion.loss_name}'
                    loss = relaxed_pixel_loss(criterion, score, scores[name], valid, head.align_corners)
                    losses[key] = losses.get(key, 0) + 0.5 * loss
        return losses


def _cross_entropies(name: str, head: Host) -> list[nn.Module]:
    """Return the losses of a head that the sub-branch has, too.

    Raises:
        ValueError: If the head makes no single map of logits, or has no cross entropy.
    """
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.models.losses import CrossEntropyLoss

    kind, part = type(head), 'decode_head' if name == 'decode' else 'auxiliary_head'
    whole = issubclass(kind, BaseDecodeHead)
    if not whole or (kind.loss, kind.loss_by_feat) != (BaseDecodeHead.loss, BaseDecodeHead.loss_by_feat):
        raise ValueError(
            'the sub-branch of MaskSubSegmentor learns the logits of the main one, pixel by pixel, so every head must '
            f'return one map of them and have the losses of BaseDecodeHead, as {HEADS} do, but {part} is a '
            f'{kind.__name__}'
        )
    losses = head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]
    found = [loss for loss in losses if isinstance(loss, CrossEntropyLoss) and not loss.use_mask]
    if not found:
        raise ValueError(
            f'the sub-branch of MaskSubSegmentor needs a loss that takes probabilities, so loss_decode of {part} must '
            'be or hold a CrossEntropyLoss, but got '
            f'{", ".join(type(loss).__name__ for loss in losses)}, which need labels'
        )
    return found


@functools.cache
def _segmentor_class() -> type:
    """Return the class, whose base is known where mmseg is installed alone."""
    try:
        from mmseg.models.segmentors import EncoderDecoder
    except ImportError as error:
        raise ImportError(f'MaskSubSegmentor needs mmsegmentation: {error}') from error
    return type('MaskSubSegmentor', (MaskSubSegmentorMixin, EncoderDecoder), {'__doc__': MaskSubSegmentor.__doc__})


@MODELS.register_module()
def MaskSubSegmentor(
    backbone: dict,
    decode_head: dict,
    neck: dict | None = None,
    auxiliary_head: dict | list[dict] | None = None,
    sub_masking: dict | None = None,
    sub_norm: str = 'update',
    two_passes: bool = True,
    train_cfg: dict | None = None,
    test_cfg: dict | None = None,
    data_preprocessor: dict | None = None,
    pretrained: str | None = None,
    init_cfg: dict | list | None = None,
) -> nn.Module:
    r"""Build a segmentor that also learns from a heavily masked view of each batch (MaskSub, arXiv 2306.11339).

    That a masked branch which learns from the whole one helps segmentors, too, say MaskSup (arXiv 2210.00923) and MIC
    (arXiv 2212.01322). Comparing with mmseg's ``EncoderDecoder``, from which it derives,

    1. The main branch is the ordinary one: the whole image and the losses of all heads, halved.
    2. The sub-branch has the same weights, but sees the same batch masked. Each head, auxiliary ones too, learns what
       it predicts in the main branch, detached, pixel by pixel: the softmax, or the sigmoid where its loss is a binary
       cross entropy; halved, too. Pixels that the labels ignore are ignored. Of several losses of a head the sub-branch
       has the cross entropies: the others need labels; and a sampler of pixels, which does so, is for the main branch
       alone.
    3. Each branch has a backward pass of its own, so that the activations of one alone live at a time.

    Inference is the host's, and so are the names of all weights. What is logged are the host's losses, halved, and
    ``sub.decode.loss_ce``, ``sub.aux.loss_ce`` ...; ``loss`` is the sum.

    In distributed training give ``model_wrapper_cfg=dict(type='mmmaskany.OwnStepDistributedDataParallel')``, see
    :class:`.MaskSubClassifier`; for MaskAny backbones, too.

    Args:
        backbone (dict): The backbone.
        decode_head (dict): The head: one that returns one map of logits, with a ``CrossEntropyLoss`` among its losses.
        neck (dict | None): The neck. Defaults to None.
        auxiliary_head (dict | list[dict] | None): Further such heads. Defaults to None.
        sub_masking (dict | SubMasking): How the sub-branch is masked: :class:`.FillCells` (any backbone) or
            :class:`.ReplacePatches` (Swin and ViT of mmpretrain); or :class:`.RaiseDropout`, :class:`.RaiseDropPath`.
        sub_norm (str): What the sub-branch does to the running statistics of batch norms: 'update' them, or 'freeze'
            them, as the main branch left them. Defaults to 'update'.
        two_passes (bool): Whether each branch has its own backward pass; False keeps the activations of both until one
            pass over their sum. Defaults to True.
        train_cfg (dict | None): As in the host. Defaults to None.
        test_cfg (dict | None): As in the host. Defaults to None.
        data_preprocessor (dict | None): As in the host. Defaults to None.
        pretrained (str | None): As in the host. Defaults to None.
        init_cfg (dict | list | None): As in the host. Defaults to None.

    Returns:
        nn.Module: The segmentor, an ``EncoderDecoder`` of the class ``MaskSubSegmentor``.

    Raises:
        ImportError: If mmsegmentation is not installed.
        TypeError: If ``sub_masking`` is no such masking.
        ValueError: If a head gives no single map of logits or has no cross entropy, if there is a cascade of heads, if
            the masking does not go with the backbone, or an option is not known.
    """
    if isinstance(decode_head, (list, tuple)):
        raise ValueError(
            'MaskSubSegmentor takes one decode_head, as EncoderDecoder does, but got a list of '
            f'{len(decode_head)}: a cascade of heads (CascadeEncoderDecoder) is not supported'
        )
    return _segmentor_class()(
        backbone=backbone,
        decode_head=decode_head,
        neck=neck,
        auxiliary_head=auxiliary_head,
        sub_masking=sub_masking,
        sub_norm=sub_norm,
        two_passes=two_passes,
        train_cfg=train_cfg,
        test_cfg=test_cfg,
        data_preprocessor=data_preprocessor,
        pretrained=pretrained,
        init_cfg=init_cfg,
    )
