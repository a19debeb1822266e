# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Where the scores of guided patterns come from: the attention of a ViT, the class activation of a CNN, the objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.necks import GlobalAveragePooling
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from mmmaskany.masking import MixturePattern, Pattern
from mmmaskany.masking.object_visibility import box_areas
from mmmaskany.masking.patterns import GuidedPattern, guided

from .host import Host


def find_guided(pattern: Pattern | MixturePattern, guides: Sequence[str]) -> GuidedPattern | None:
    """Return the guided pattern of what draws, None where it needs no scores.

    Args:
        pattern (Pattern | MixturePattern): What draws.
        guides (Sequence[str]): The guides that there are where it is used.

    Returns:
        GuidedPattern | None: The pattern; one of several that are guided alike.

    Raises:
        ValueError: If scores are needed that no guide gives, or of several kinds or cells.
    """
    if 'scores' not in pattern.needs:
        return None
    parts = pattern.patterns if isinstance(pattern, MixturePattern) else [pattern]
    others = [part for part in parts if 'scores' in part.needs and not isinstance(part, GuidedPattern)]
    found = guided(pattern)
    lacking = [part.guide for part in found if part.guide not in guides]
    if others or lacking:
        name = type((others or [part for part in found if part.guide == lacking[0]])[0]).__name__
        raise ValueError(
            f'scores here come from {" or ".join(guides)}, but {name} needs {lacking[0] if lacking else "others"}: '
            'AttentionPattern and ActivationPattern are for the sub-branch of MaskSub, ObjectPattern is for '
            'MaskedDetector and MaskedSegmentor'
        )
    kinds = {(part.guide, part.cell, part.classes) for part in found}
    if len(kinds) > 1:
        raise ValueError(
            f'the guided patterns of a mixture must have one guide, one size of cells and the same classes, but got '
            f'{found}'
        )
    return found[0]


def in_cells(scores: Tensor, size: tuple[int, ...], cell: int, mode: str = 'nearest-exact') -> Tensor:
    """Average a map of scores over the cells of images.

    Args:
        scores (Tensor): ``(B, h, w)``, over the whole images.
        size (tuple[int, ...]): Height and width of the images in pixels.
        cell (int): Side of a cell in pixels.
        mode (str): How the map is enlarged to the images. Defaults to 'nearest-exact'.

    Returns:
        Tensor: ``(B, rows, cols)``, one score for each cell that lies in the images.
    """
    corners = dict(align_corners=False) if mode == 'bilinear' else {}
    pixels = F.interpolate(scores[:, None].float(), size, mode=mode, **corners)
    return F.avg_pool2d(pixels, cell)[:, 0]


class AttentionGuide:
    """What the class token of a ViT attends to in its last layer, averaged over the heads (AttMask, arXiv 2203.12719).

    Args:
        model (nn.Module): A model whose ``backbone`` is a VisionTransformer, DistilledVisionTransformer or DeiT3.

    Raises:
        ValueError: If it has no such attention.
    """

    mode = 'nearest-exact'

    def __init__(self, model: Host) -> None:
        backbone = model.backbone
        attention = getattr(backbone.layers[-1], 'attn', None) if isinstance(backbone, VisionTransformer) else None
        if not isinstance(attention, MultiheadAttention) or backbone.cls_token is None:
            raise ValueError(
                'AttentionPattern needs the attention of a class token, as VisionTransformer, DeiT3 and '
                f'DistilledVisionTransformer have, but got {type(backbone).__name__}: take ActivationPattern for a '
                'CNN, or RandomPattern'
            )
        if getattr(backbone, 'fuse_at', 'stem') != 'stem':
            raise ValueError(
                f'AttentionPattern needs the attention to one image, but {type(backbone).__name__} with '
                f"fuse_at={backbone.fuse_at!r} runs on two: take fuse_at='stem'"
            )

    @contextmanager
    def watching(self, model: Host, found: list[Tensor]) -> Iterator[None]:
        """Look at the forward passes within the context; maps ``(B, h, w)`` are added to ``found``."""
        backbone = model.backbone
        sizes: list[tuple[int, int]] = []

        @torch.no_grad()
        def look(attention: MultiheadAttention, args: tuple) -> None:
            found.append(class_attention(attention, args[0])[:, backbone.num_extra_tokens :].unflatten(1, sizes[-1]))

        with (
            backbone.patch_embed.register_forward_hook(lambda embed, args, output: sizes.append(tuple(output[1]))),
            backbone.layers[-1].attn.register_forward_pre_hook(look),
        ):
            yield


def class_attention(attention: MultiheadAttention, tokens: Tensor) -> Tensor:
    """Calculate what the first token attends to, on average over the heads, ``(B, N)``; it sums to 1."""
    dims = attention.embed_dims
    weight, bias = attention.qkv.weight, attention.qkv.bias
    query = F.linear(tokens[:, :1], weight[:dims], None if bias is None else bias[:dims])
    key = F.linear(tokens, weight[dims : 2 * dims], None if bias is None else bias[dims : 2 * dims])
    query, key = (each.unflatten(2, (attention.num_heads, attention.head_dims)) for each in (query, key))
    logits = torch.einsum('bqhd,bnhd->bhn', query.float(), key.float()) * attention.head_dims**-0.5
    return logits.softmax(2).mean(1)


class ActivationGuide:
    """The class activation map of the class that a CNN predicts (CAM, arXiv 1512.04150).

    Args:
        model (nn.Module): A classifier with GlobalAveragePooling and one linear layer for a head.

    Raises:
        ValueError: If it has no such head.
    """

    mode = 'bilinear'

    def __init__(self, model: nn.Module) -> None:
        neck, head = getattr(model, 'neck', None), getattr(model, 'head', None)
        linear = isinstance(neck, GlobalAveragePooling) and isinstance(getattr(head, 'fc', None), nn.Linear)
        if not linear:
            raise ValueError(
                'ActivationPattern needs class activation maps, so a classifier with GlobalAveragePooling and a '
                f'LinearClsHead, but got {type(model).__name__} with neck {type(neck).__name__} and head '
                f'{type(head).__name__}: take AttentionPattern for a ViT, or RandomPattern'
            )

    @contextmanager
    def watching(self, model: Host, found: list[Tensor]) -> Iterator[None]:
        """Look at the forward passes within the context; maps ``(B, h, w)`` are added to ``found``."""

        @torch.no_grad()
        def look(neck: nn.Module, args: tuple, output: object) -> None:
            feats = args[0][-1] if isinstance(args[0], (tuple, list)) else args[0]
            weight, bias = model.head.fc.weight.float(), model.head.fc.bias
            maps = torch.einsum('bchw,kc->bkhw', feats.float(), weight)
            predicted = (maps.mean((2, 3)) + (0 if bias is None else bias)).argmax(1)
            found.append(maps[torch.arange(len(maps), device=maps.device), predicted])

        with model.neck.register_forward_hook(look):
            yield


GUIDES: dict[str, type[AttentionGuide | ActivationGuide]] = {
    'attention': AttentionGuide,
    'activation': ActivationGuide,
}


def cover_of_boxes(boxes: Sequence[Tensor], size: tuple[int, ...], cell: int) -> Tensor:
    """Calculate how much of each cell the boxes of its image cover.

    Args:
        boxes (Sequence[Tensor]): The boxes of each image, ``(N, 4)``.
        size (tuple[int, ...]): Height and width of the images in pixels.
        cell (int): Side of a cell in pixels.

    Returns:
        Tensor: ``(B, rows, cols)``, square pixels of the box that covers most of it.
    """
    grid = size[0] // cell, size[1] // cell
    covers = [box_areas(each, cell, grid).float() for each in boxes]
    return torch.stack([each.amax(0) if len(each) else each.new_zeros(grid) for each in covers])


def cover_of_regions(regions: Tensor, cell: int) -> Tensor:
    """Calculate how much of each cell labelled regions cover, of bool ``(B, H, W)``: ``(B, rows, cols)``, shares."""
    return F.avg_pool2d(regions[:, None].float(), cell)[:, 0]
