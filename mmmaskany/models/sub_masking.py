# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How the sub-branch of MaskSub is masked: cells of the image, embedded patches, or tokens that are dropped."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor, nn

from mmmaskany.builder import build_fill, build_pattern
from mmmaskany.masking import (
    ConstantFill,
    Draw,
    Fill,
    LayerMasking,
    MixturePattern,
    Pattern,
    RandomPattern,
    draw_masks,
    kept_first,
)
from mmmaskany.masking.draw import packed_channels, to_pixels
from mmmaskany.masking.patterns import guided
from mmmaskany.registry import MODELS

from .guides import in_cells
from .host import Host


class SubMasking(nn.Module):
    """Base of the ways to mask what a backbone sees, for the length of one forward pass.

    Args:
        pattern (dict | Pattern | MixturePattern | None): Where to mask. None is half of the cells, anywhere, see the
            subclasses. Defaults to None.

    Raises:
        TypeError: If ``pattern`` is no pattern.
    """

    def __init__(self, pattern: dict | Pattern | MixturePattern | None = None) -> None:
        super().__init__()
        self.pattern = None if pattern is None else build_pattern(pattern)
        #: For a guided pattern: the map of scores ``(B, h, w)`` of the images to be masked, and how to enlarge it.
        self.guidance: tuple[Tensor, str] | None = None

    def bind(self, backbone: nn.Module) -> None:
        """Make ready for a backbone, once, when the model is built.

        Args:
            backbone (nn.Module): The backbone.

        Raises:
            ValueError: If its kind cannot be masked in this way, or the pattern leaves nothing of it, or masks
                nothing.
        """

    def bind_model(self, model: nn.Module) -> None:
        """Make ready for what is around the backbone, too, once, after :meth:`bind`.

        Args:
            model (nn.Module): The model.

        Raises:
            ValueError: If it does not go with this way to mask.
        """

    def draw(self, images: Tensor) -> Draw:
        """Draw what is masked; a guided pattern is given its ``guidance``."""
        assert self.pattern is not None  # a way to mask without one draws nothing
        scores = None
        if self.guidance is not None:
            maps, mode = self.guidance
            scores = in_cells(maps, images.shape[-2:], guided(self.pattern)[0].cell[0], mode)
        return draw_masks(self.pattern, images, scores=scores)

    @contextmanager
    def masked(self, backbone: nn.Module, images: Tensor) -> Iterator[Tensor]:
        """Mask what the backbone sees within the context.

        Args:
            backbone (nn.Module): The backbone.
            images (Tensor): Normalised images, ``(B, C, H, W)``; never modified.

        Yields:
            Tensor: The images to call the backbone with.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f'pattern={self.pattern}'


@MODELS.register_module()
class FillCells(SubMasking):
    """Fill cells of the normalised image, as MaskSub does for CNNs.

    Args:
        pattern (dict | Pattern | MixturePattern | None): Where to mask. None is half of the cells of 32 px, anywhere,
            the paper's. Defaults to None.
        fill (dict | Fill | None): What stays in the masked cells; None is 0, the mean colour. Defaults to None.

    Raises:
        TypeError: If ``pattern`` is no pattern, or ``fill`` no fill.
    """

    def __init__(self, pattern: dict | Pattern | MixturePattern | None = None, fill: dict | Fill | None = None) -> None:
        super().__init__(RandomPattern(ratio=0.5, cell=32, base=32) if pattern is None else pattern)
        self.fill = ConstantFill() if fill is None else build_fill(fill)

    @contextmanager
    def masked(self, backbone: nn.Module, images: Tensor) -> Iterator[Tensor]:
        height, width = images.shape[-2:]
        draw = self.draw(images)
        yield self.fill(images, draw.pixel_mask(height, width, packed_channels(images)))


@MODELS.register_module()
class HideFromLayers(SubMasking):
    """Hide cells from every layer of a CNN: they show neither a colour nor an edge, see :class:`LayerMasking`.

    For classifiers, whose neck and head see the visible part alone, too.

    Args:
        pattern (dict | Pattern | MixturePattern | None): Where to mask. None is half of the cells of 32 px, anywhere.
            Defaults to None.
        size (Sequence[int]): Height and width in pixels of the images that the network is tried on, when it is built:
            those that it will see, or at least twice its stride. Defaults to (64, 64).

    Raises:
        TypeError: If ``pattern`` is no pattern.
    """

    def __init__(self, pattern: dict | Pattern | MixturePattern | None = None, size: Sequence[int] = (64, 64)) -> None:
        super().__init__(RandomPattern(ratio=0.5, cell=32, base=32) if pattern is None else pattern)
        self.size = size

    def bind_model(self, model: nn.Module) -> None:
        if not isinstance(model, ImageClassifier):
            raise ValueError(
                'HideFromLayers is for classifiers, which predict for an image as a whole, but '
                f'{type(model).__name__} predicts for hidden positions, too: take FillCells'
            )
        self.layers = LayerMasking(model, self.size)
        self.layers.check_training()

    @contextmanager
    def masked(self, backbone: nn.Module, images: Tensor) -> Iterator[Tensor]:
        with self.layers.masked(images, self.draw(images).pixel_mask(*images.shape[-2:])) as visible:
            yield visible


class _Rates(SubMasking):
    """Sub-branches that see the whole image, but lose more of the network: rates are set for one forward pass."""

    #: The modules whose rate it is, the name of the rate, and what to call them.
    layers: tuple[type, ...] = ()
    attribute = ''

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        if not 0 < rate < 1:
            raise ValueError(f'rate must be in (0, 1), but got {rate}')
        self.rate = rate

    def bind(self, backbone: nn.Module) -> None:
        if not self._of(backbone):
            raise ValueError(
                f'{type(self).__name__} needs a backbone with modules {[layer.__name__ for layer in self.layers]}, but '
                f'{type(backbone).__name__} has none: take FillCells'
            )

    def _of(self, backbone: nn.Module) -> list[nn.Module]:
        return [module for module in backbone.modules() if isinstance(module, self.layers)]

    @contextmanager
    def masked(self, backbone: nn.Module, images: Tensor) -> Iterator[Tensor]:
        modules = self._of(backbone)
        rates = [getattr(module, self.attribute) for module in modules]
        for module in modules:
            setattr(module, self.attribute, self.rate)
        try:
            yield images
        finally:
            for module, rate in zip(modules, rates, strict=True):
                setattr(module, self.attribute, rate)

    def extra_repr(self) -> str:
        return f'rate={self.rate}'


@MODELS.register_module()
class RaiseDropout(_Rates):
    """A sub-branch by dropout: every dropout of the backbone has this rate (AugDrop of MaskSub, arXiv 2306.11339).

    Args:
        rate (float): The rate in the sub-branch, in (0, 1). Defaults to 0.1.

    Raises:
        ValueError: If the rate is none, or the backbone has no dropout.
    """

    layers = (nn.Dropout,)
    attribute = 'p'


@MODELS.register_module()
class RaiseDropPath(_Rates):
    """A sub-branch by drop path: every residual branch of the backbone is left out with this probability.

    As MaskSub does beside masking (AugDropPath, arXiv 2306.11339).

    Args:
        rate (float): The probability in the sub-branch, in (0, 1). Defaults to 0.1.

    Raises:
        ValueError: If the rate is none, or the backbone has no drop path.
    """

    layers = (DropPath,)
    attribute = 'drop_prob'


class _PatchMasking(SubMasking):
    """Masks between a backbone's ``patch_embed`` and what follows it."""

    #: Side in px of the default pattern's cells; None is that of a patch.
    cell: int | None = None

    def bind(self, backbone: Host) -> None:
        name = type(backbone).__name__
        if not getattr(getattr(backbone, 'patch_embed', None), 'init_out_size', None):
            raise ValueError(
                f"{type(self).__name__} needs a backbone with a `patch_embed` of mmcv's, which cuts the image into "
                f'patches, as ViT and Swin have, but got {name}: take FillCells'
            )
        late = getattr(backbone, 'fuse_at', 'stem')
        if late != 'stem':
            raise ValueError(
                f'{type(self).__name__} masks the patches of one image, but {name} with fuse_at={late!r} runs on two: '
                "take fuse_at='stem' or FillCells"
            )
        if getattr(getattr(backbone, 'masking', None), 'reuse', None) == 'aligned':
            raise ValueError(
                f"reuse='aligned' puts features back by the draw of an image's cells, but {type(self).__name__} masks "
                "tokens behind the stems, without one: take reuse=True or 'in_place' in the masking of the backbone, "
                'or FillCells'
            )
        embed = backbone.patch_embed
        sides = {size // out for size, out in zip(embed.init_input_size, embed.init_out_size, strict=True)}
        if len(sides) > 1:
            raise ValueError(f'{type(self).__name__} needs square patches, but those of {name} have sides {sides}')
        (self.patch,) = sides
        if self.pattern is None:
            cell = self.cell or self.patch
            self.pattern = RandomPattern(ratio=0.5, cell=cell, base=cell)
        if self.pattern.base % self.patch:
            raise ValueError(
                f'the base of the pattern must be a multiple of the patches of {name}, {self.patch} px, but got '
                f'{self.pattern}'
            )
        self.pattern.canvas(*embed.init_input_size)  # raises where it masks nothing, or all

    def token_mask(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Draw which patches are masked, bool ``(B, rows * cols)``, True = masked."""
        assert self.pattern is not None  # `bind` has seen to it
        draw = self.draw(images).refine(self.pattern.base, *images.shape[-2:])
        mask = to_pixels(draw.mask, self.pattern.base // self.patch)[:, 0]
        below, right = size[0] - mask.shape[1], size[1] - mask.shape[2]
        return F.pad(mask, (0, right, 0, below)).flatten(1)


@MODELS.register_module()
class ReplacePatches(_PatchMasking):
    """Put a learned mask token in the place of embedded patches, as MaskSub does for Swin, after SimMIM.

    Position embeddings are added after it. At test time the token is not used.

    Args:
        pattern (dict | Pattern | MixturePattern | None): Where to mask; its ``base`` must be a multiple of the
            backbone's patches. None is half of the cells of 32 px, anywhere, the paper's. Defaults to None.

    Raises:
        TypeError: If ``pattern`` is no pattern.
    """

    cell = 32

    def bind(self, backbone: Host) -> None:
        super().bind(backbone)
        # One dimension, so that optimisers which spare biases and norms from weight decay spare it, too.
        self.token = nn.Parameter(torch.zeros(backbone.patch_embed.embed_dims))
        nn.init.trunc_normal_(self.token, std=0.02)

    @contextmanager
    def masked(self, backbone: Host, images: Tensor) -> Iterator[Tensor]:
        def replace(embed: nn.Module, args: tuple, output: tuple) -> tuple:
            tokens, size = output
            mask = self.token_mask(images, size)
            return torch.where(mask[..., None], self.token.to(tokens.dtype), tokens), size

        with backbone.patch_embed.register_forward_hook(replace):
            yield images


@MODELS.register_module()
class DropTokens(_PatchMasking):
    """Drop tokens of a ViT, DeiT or DeiT-III, as MaskSub does, so that a pass costs as much less.

    They are dropped in front of the first layer: there every kind has added its position embedding, each in its own
    way, and its class and distillation tokens stand first. These stay.

    Args:
        pattern (dict | Pattern | MixturePattern | None): Where to mask, as many cells in every image; its ``base`` must
            be a multiple of the backbone's patches. None is half of the patches, anywhere, the paper's. Defaults to
            None.

    Raises:
        TypeError: If ``pattern`` is no pattern.
    """

    #: As many tokens are masked of every image.
    equal_counts = True

    def bind(self, backbone: Host) -> None:
        name = type(backbone).__name__
        if not isinstance(backbone, VisionTransformer):
            raise ValueError(
                f'DropTokens needs the tokens of a VisionTransformer, DistilledVisionTransformer or DeiT3, but got '
                f'{name}: take ReplacePatches, where it has a `patch_embed`, or FillCells'
            )
        takes = list(inspect.signature(backbone.layers[0].forward).parameters)
        if len(takes) > 1:
            raise ValueError(
                f'DropTokens needs layers that take tokens alone, but those of {name} take {takes}: their positions '
                'would not fit. Take ReplacePatches'
            )
        if backbone.out_type == 'featmap':
            raise ValueError(
                f"the tokens that DropTokens leaves form no map, but {name} has out_type='featmap': take 'cls_token' "
                "or 'avg_featmap'"
            )
        super().bind(backbone)
        self.masked_tokens(*backbone.patch_embed.init_input_size)

    def masked_tokens(self, height: int, width: int) -> int:
        """Return how many tokens of each image are masked."""
        assert self.pattern is not None  # `bind` has seen to it
        return self.pattern.masked_cells(height, width) * (self.pattern.base // self.patch) ** 2

    @contextmanager
    def masked(self, backbone: Host, images: Tensor) -> Iterator[Tensor]:
        kept: Tensor | None = None

        def draw(embed: nn.Module, args: tuple, output: tuple) -> None:
            nonlocal kept
            # Tokens that come before the patches are never masked.
            mask = F.pad(self.token_mask(images, output[1]), (backbone.num_extra_tokens, 0))
            count = mask.shape[1] - self.masked_tokens(*images.shape[-2:])
            kept = kept_first(mask)[:, :count, None]

        def drop(layer: nn.Module, args: tuple) -> Tensor:
            (tokens,) = args
            assert kept is not None  # patches are embedded before
            return tokens.gather(1, kept.expand(-1, -1, tokens.shape[2]))

        with backbone.patch_embed.register_forward_hook(draw), backbone.layers[0].register_forward_pre_hook(drop):
            yield images
