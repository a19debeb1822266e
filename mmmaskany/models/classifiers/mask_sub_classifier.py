# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskSub: a masked sub-branch that learns from the main branch."""

from __future__ import annotations

import copy
from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import ArcFaceClsHead, ClsHead, ConformerHead, MultiLabelClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmmaskany.masking import Views
from mmmaskany.registry import MODELS

from ..heads.relaxed_targets import relaxed_loss, soft_criterion
from ..sub_branch import SubBranchMixin
from ..sub_masking import SubMasking


@MODELS.register_module()
class MaskSubClassifier(SubBranchMixin, ImageClassifier):
    r"""Classifier that also learns from a heavily masked view of each batch (MaskSub, arXiv 2306.11339).

    Comparing with :class:`mmpretrain.models.ImageClassifier`,

    1. The main branch is the ordinary one: the whole image and the head's own losses, halved.
    2. The sub-branch has the same weights, but sees the same batch masked, after mixup and cutmix. It learns what the
       main branch predicts, detached: its softmax, or its sigmoid where the head's loss is a binary cross entropy;
       halved, too.
    3. Each branch has a backward pass of its own, so that the activations of one alone live at a time.

    ::

        images ─┬─────────── backbone ─ head ─ scores ─ loss_main ─ backward
                │               (same weights)   │ detach
                └─ masking ─ backbone ─ head ────┴───── loss_sub ── backward ─ step

    Inference is the host's. ``loss_main`` and ``loss_sub`` are logged as they are summed up to ``loss``.

    In distributed training give ``model_wrapper_cfg=dict(type='mmmaskany.OwnStepDistributedDataParallel')``: it leaves
    the step to the model, so that gradients are synchronised once, in the second pass. Under MMEngine's wrapper, which
    knows one forward pass only, both branches share it: the same gradients, but more memory.

    With a MaskAny backbone the main branch is masked as the backbone says, and the sub-branch by ``sub_masking``
    alone; its reused image is the masked one at half size, which shows nothing of what is masked.

    Args:
        backbone (dict | nn.Module): The backbone.
        neck (dict | nn.Module | None): The neck. Defaults to None.
        head (dict | nn.Module): The head: one that returns logits, with a loss that takes probabilities
            (CrossEntropyLoss or LabelSmoothLoss).
        sub_masking (dict | SubMasking): How the sub-branch is masked: :class:`.DropTokens` (ViT, DeiT, DeiT-III),
            :class:`.ReplacePatches` (Swin), :class:`.FillCells` (any) or :class:`.HideFromLayers` (CNNs);
            :class:`.RaiseDropout` and :class:`.RaiseDropPath` make the sub-branch by these instead.
        sub_norm (str): What the sub-branch does to the running statistics of batch norms: 'update' them, as in the
            reference, or 'freeze' them, as the main branch left them. It normalises by its own batch either way.
            Defaults to 'update'.
        two_passes (bool): Whether each branch has its own backward pass; False keeps the activations of both until one
            pass over their sum. Defaults to True.
        train_cfg (dict | None): Batch augmentations, as in the host. Defaults to None.
        **kwargs: Other arguments of :class:`mmpretrain.models.ImageClassifier`.

    Raises:
        TypeError: If ``sub_masking`` is no such masking.
        ValueError: If the head gives no logits, its loss takes no probabilities or its accuracy needs hard labels that
            the batch augmentations mix, if the masking does not go with the backbone, or an option is not known.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        neck: dict | nn.Module | None = None,
        head: dict | nn.Module | None = None,
        sub_masking: dict | SubMasking | None = None,
        sub_norm: str = 'update',
        two_passes: bool = True,
        train_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        # The host writes into its configs: it appends to the list of probabilities of the augmentations.
        kwargs['data_preprocessor'] = copy.deepcopy(kwargs.get('data_preprocessor'))
        super().__init__(backbone, neck=neck, head=head, train_cfg=copy.deepcopy(train_cfg), **kwargs)
        self._check_head()
        self.set_sub_branch(sub_masking, sub_norm, two_passes)

    def _check_head(self) -> None:
        head, name = self.head, type(self.head).__name__
        known = isinstance(head, (ClsHead, MultiLabelClsHead)) and not isinstance(head, (ArcFaceClsHead, ConformerHead))
        if not known:
            raise ValueError(
                'the sub-branch learns the logits of the main one, so head must return one tensor of them, as '
                f'LinearClsHead, VisionTransformerClsHead and the heads for several labels do, but got {name}'
            )
        soft_criterion(head.loss_module)
        if getattr(head, 'cal_acc', False) and getattr(self.data_preprocessor, 'batch_augments', None) is not None:
            raise ValueError(
                f'cal_acc=True of {name} needs hard labels, but the batch augmentations of train_cfg mix them: take '
                'cal_acc=False'
            )

    # ------------------------------------------------------------------ the two branches

    def main_loss(self, inputs: Tensor | Views, data_samples: list[DataSample]) -> tuple[dict[str, Tensor], Tensor]:
        """Calculate the losses of the main branch.

        Args:
            inputs (Tensor | Views): The images, or a ready pair for a MaskAny backbone.
            data_samples (list[DataSample]): The labels.

        Returns:
            tuple[dict[str, Tensor], Tensor]: The head's losses, halved, its ``loss`` under the name ``loss_main``; and
            the logits, detached, ``(B, classes)``.

        Raises:
            ValueError: If the head does not return one tensor of logits.
        """
        scores = None

        def take(head: nn.Module, args: tuple, output: object) -> None:
            nonlocal scores
            if not isinstance(output, Tensor) or output.dim() != 2:
                raise ValueError(
                    f'{type(head).__name__} must return one tensor of logits (B, classes), but returned '
                    f'{tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__}'
                )
            scores = output.detach()

        feats = self.extract_feat(inputs)
        with self.head.register_forward_hook(take):
            losses = self.head.loss(feats, data_samples)
        if scores is None:
            raise ValueError(f'{type(self.head).__name__} must calculate its loss from its forward, but does not')
        halved = {name: 0.5 * value if 'loss' in name else value for name, value in losses.items()}
        return {'loss_main' if name == 'loss' else name: value for name, value in halved.items()}, scores

    def sub_loss(
        self, inputs: Tensor | Views, scores: Tensor, data_samples: list[DataSample] | None = None
    ) -> dict[str, Tensor]:
        """Calculate the loss of the masked sub-branch.

        Args:
            inputs (Tensor | Views): What the main branch saw.
            scores (Tensor): The logits of the main branch, ``(B, classes)``.
            data_samples (list[DataSample] | None): The labels, which are not needed. Defaults to None.

        Returns:
            dict[str, Tensor]: ``loss_sub``, halved.
        """
        with self.sub_branch(inputs) as images:
            score = self.head(self.extract_feat(images))
        return dict(loss_sub=0.5 * relaxed_loss(self.head.loss_module, score, scores))
