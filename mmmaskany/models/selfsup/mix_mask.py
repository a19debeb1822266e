# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MixMask: Siamese pre-training whose masked regions show another image, and whose loss follows the mask."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmpretrain.models.heads import ContrastiveHead, LatentPredictHead
from mmpretrain.models.losses import CrossEntropyLoss
from mmpretrain.models.selfsup import BYOL, MoCo, SimSiam
from mmpretrain.registry import BATCH_AUGMENTS
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.functional import normalize

from mmmaskany.registry import MODELS

from ..batch_augments import NeighbourMix
from ..host import Host


def build_mixing(mixing: dict | NeighbourMix | Sequence) -> list[NeighbourMix]:
    """Build one or several ways of mixing from their configs; what is built is taken as it is.

    Args:
        mixing (dict | NeighbourMix | Sequence): See :class:`MixMask`.

    Returns:
        list[NeighbourMix]: At least one.

    Raises:
        TypeError: If one of them is no way of mixing.
        ValueError: If there are none.
    """
    several: Sequence = mixing if isinstance(mixing, (list, tuple)) else [mixing]
    built = [BATCH_AUGMENTS.build(part) if isinstance(part, dict) else part for part in several]
    if not built:
        raise ValueError("mixing must be one of 'mmmaskany.MaskMix' and 'mmmaskany.UnMix' or several, but got none")
    for part in built:
        if not isinstance(part, NeighbourMix):
            raise TypeError(
                "mixing must be dict(type='mmmaskany.MaskMix', pattern=...), dict(type='mmmaskany.UnMix'), or a "
                f'list of them, but got {type(part).__name__}'
            )
    return built


#: What the partner of each image has in a batch of anything.
_partner = NeighbourMix.partner.content


class MixMask(Host):
    r"""What MixMask (arXiv 2210.11456) and Un-Mix (arXiv 2003.05438) add to a Siamese framework of mmpretrain.

    The host compares the queries q of one view with the targets k of the other. Here it does so too, and each view is
    mixed as well, an image with its partner, the next one of the batch. What the network says of the mixed image is
    compared with the targets of both, weighted by what is seen of them::

        view 1 ─┬────────── backbone, neck ─ q ────────┐
                │                                      ├─ loss_whole     L(q, k), the host's own
        view 2 ─┼────────── host's targets ─ k ──┬─────┘
                │                                ├──────── loss_own      kept * L(q_mix, k)
                └─ mixing ─ backbone, neck ─ q_mix ─────── loss_partner  (1 - kept) * L(q_mix, k of the partner)

    ``kept`` is lambda of the paper, the share of each image that its own drawn mask leaves. The last term is the
    paper's loss of the batch of mixed images in reverse, but no image of an odd batch is its own partner. All three
    are logged. Where the host compares in both directions, so is the mixed view of each.

    Momentum encoder, queue, shuffled batch norm and the weights of the losses are the host's; targets are never mixed,
    and gradients reach the query encoder alone. There is one more pass of it for each direction and way of mixing.

    Args:
        mixing (dict | NeighbourMix | Sequence): How images are mixed: ``mmmaskany.MaskMix`` with any pattern is
            MixMask, ``mmmaskany.UnMix`` is Un-Mix. Of several each adds its terms.
        **kwargs: Arguments of the framework.

    Raises:
        TypeError: If ``mixing`` is no way of mixing, or the head is not the one that the framework is known with. At a
            step, if the inputs are no two views.
        ValueError: If ``mixing`` is empty. At a step, if a batch has no partner for an image, or the sides of the
            images are no multiples of the cells.
    """

    #: Factor of the host's own loss in each direction.
    loss_weight = 1.0

    def __init__(self, *args: Any, mixing: dict | NeighbourMix | Sequence, **kwargs: Any) -> None:
        # The host writes into its config.
        kwargs['data_preprocessor'] = copy.deepcopy(kwargs.get('data_preprocessor'))
        super().__init__(*args, **kwargs)
        self.mixing = build_mixing(mixing)
        self._check_head()
        #: What the host compared its queries with in this step, direction by direction.
        self._targets: list[tuple[Tensor, ...]] = []

    # ------------------------------------------------------------------ what a framework says

    def _check_head(self) -> None:
        """Raise a TypeError unless the head is one that :meth:`compare` knows."""
        raise TypeError(f'a framework must be one of {list(FRAMEWORKS)}, but got {type(self).__name__}')

    def _listening(self) -> AbstractContextManager:
        """Note in ``_targets`` what the host compares with, while its own loss runs."""
        return nullcontext()

    def compare(self, query: Tensor, targets: tuple[Tensor, ...]) -> Iterable[Tensor]:
        """Calculate the host's loss of each query twice.

        Args:
            query (Tensor): What backbone and neck make of the mixed images, ``(B, C)``.
            targets (tuple[Tensor, ...]): What the host compared the whole images with.

        Returns:
            Iterable[Tensor]: The losses against each image's own target, and its partner's, both ``(B,)``.
        """
        raise NotImplementedError

    # ------------------------------------------------------------------ what is the same for all

    def loss(self, inputs: list[Tensor], data_samples: list[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Calculate the three terms.

        Args:
            inputs (list[Tensor]): Two views of each image, ``(B, C, H, W)``.
            data_samples (list[DataSample]): What the host takes beside them.
            **kwargs: As in the host.

        Returns:
            dict[str, Tensor]: ``loss_whole``, ``loss_own`` and ``loss_partner``, whose sum is minimised.

        Raises:
            TypeError: If the inputs are no two views.
            ValueError: If a batch or its images do not suit the mixing.
        """
        self._check_views(inputs)
        self._targets = []
        with self._listening():
            losses = super().loss(inputs, data_samples, **kwargs)
        directions, self._targets = self._targets, []
        own: Tensor | float = 0.0
        partner: Tensor | float = 0.0
        for mixing in self.mixing:
            for view, targets in zip(inputs, directions, strict=False):
                mixed = mixing.mix(view)
                query = self.neck(self.backbone(mixed.images))[0]
                to_own, to_partner = self.compare(query, targets)
                own = own + self.loss_weight * (mixed.kept * to_own).mean()
                partner = partner + self.loss_weight * ((1 - mixed.kept) * to_partner).mean()
        whole = losses.pop('loss')
        return dict(losses, loss_whole=whole, loss_own=own, loss_partner=partner)

    def _check_views(self, inputs: list[Tensor]) -> None:
        if not isinstance(inputs, list) or len(inputs) != 2:
            found = f'{len(inputs)} views' if isinstance(inputs, list) else type(inputs).__name__
            raise TypeError(
                f'{type(self).__name__} needs a list of two views of each image, but got {found}: give the data '
                "pipeline dict(type='MultiView', num_views=2, transforms=[...])"
            )
        count, _, height, width = inputs[0].shape
        if count < 2:
            raise ValueError(
                f'{type(self).__name__} needs a partner for each image, so at least 2 images for each process, but '
                'got a batch of 1: take larger batches, and drop_last=True in the data loader'
            )
        for mixing in self.mixing:
            for cell in mixing.cells:
                if height % cell or width % cell:
                    raise ValueError(
                        f'the sides of the images must be multiples of the cells of {cell} px of {mixing}, but got '
                        f'{height} x {width} px: take other cells or crops'
                    )


@MODELS.register_module()
class MixMaskMoCo(MixMask, MoCo):
    """MoCo v1 and v2 (arXiv 2003.04297) with mixed images, see :class:`MixMask`.

    Mixed queries meet the keys of both images and the same negatives as the whole ones: the queue before this batch.

    Args:
        mixing (dict | NeighbourMix | Sequence): See :class:`MixMask`.
        **kwargs: Arguments of :class:`mmpretrain.models.MoCo`.
    """

    def _check_head(self) -> None:
        loss = getattr(self.head, 'loss_module', None)
        if not isinstance(self.head, ContrastiveHead) or type(loss) is not CrossEntropyLoss:
            raise TypeError(
                f'head of {type(self).__name__} must be a ContrastiveHead with CrossEntropyLoss, but got '
                f'{type(self.head).__name__} with {type(loss).__name__}'
            )

    def _dequeue_and_enqueue(self, keys: Tensor) -> None:
        self._targets.append((keys, self.queue.clone()))
        super()._dequeue_and_enqueue(keys)

    def compare(self, query: Tensor, targets: tuple[Tensor, ...]) -> Iterable[Tensor]:
        """Compare with keys ``(B, C)`` and queue ``(C, K)``; see :meth:`MixMask.compare`."""
        keys, queue = targets
        query = normalize(query, dim=1)
        negative = query @ queue
        first = torch.zeros(len(query), dtype=torch.long, device=query.device)
        for positive in (keys, _partner(keys)):
            logits = torch.cat([torch.einsum('nc,nc->n', query, positive)[:, None], negative], 1)
            yield self.head.loss_module(logits / self.head.temperature, first, reduction_override='none')


class _LatentMixMask(MixMask):
    """MixMask where a predictor's output is compared with the other view's features, without negatives."""

    def _check_head(self) -> None:
        if not isinstance(self.head, LatentPredictHead):
            raise TypeError(
                f'head of {type(self).__name__} must be a LatentPredictHead, but got {type(self.head).__name__}'
            )

    def _listening(self) -> AbstractContextManager:
        return self.head.loss_module.register_forward_pre_hook(lambda _, args: self._targets.append(args[1:]))

    def compare(self, query: Tensor, targets: tuple[Tensor, ...]) -> Iterable[Tensor]:
        """Compare the predictions with features ``(B, C)``; see :meth:`MixMask.compare`."""
        (features,) = targets
        prediction = self.head.predictor([query])[0]
        # The head's loss is a mean: of each image alone it is that image's.
        return [torch.vmap(self.head.loss_module)(prediction, target) for target in (features, _partner(features))]


@MODELS.register_module()
class MixMaskSimSiam(_LatentMixMask, SimSiam):
    """SimSiam (arXiv 2011.10566) with mixed images, see :class:`MixMask`.

    Args:
        mixing (dict | NeighbourMix | Sequence): See :class:`MixMask`.
        **kwargs: Arguments of :class:`mmpretrain.models.SimSiam`.
    """

    loss_weight = 0.5


@MODELS.register_module()
class MixMaskBYOL(_LatentMixMask, BYOL):
    """BYOL (arXiv 2006.07733) with mixed images, see :class:`MixMask`.

    Args:
        mixing (dict | NeighbourMix | Sequence): See :class:`MixMask`.
        **kwargs: Arguments of :class:`mmpretrain.models.BYOL`.
    """

    loss_weight = 2.0


#: The frameworks that are known with mixed images, by the names that mmpretrain has for them.
FRAMEWORKS = dict(MoCo=MixMaskMoCo, SimSiam=MixMaskSimSiam, BYOL=MixMaskBYOL)


@MODELS.register_module(name='MixMask')
def build_mix_mask(framework: str, **kwargs: Any) -> MixMask:
    """Build the class for one of mmpretrain's frameworks, as ``type='mmmaskany.MixMask', framework='MoCo'``.

    Args:
        framework (str): The name of the framework; 'MoCo' is the same as ``type='mmmaskany.MixMaskMoCo'``.
        **kwargs: Arguments of that class.

    Returns:
        MixMask: The model.

    Raises:
        ValueError: If the framework is not known with mixed images.
    """
    known = FRAMEWORKS.get(str(framework).removeprefix('mmpretrain.'))
    if known is None:
        raise ValueError(f'framework must be one of {list(FRAMEWORKS)}, but got {framework!r}')
    return known(**kwargs)
