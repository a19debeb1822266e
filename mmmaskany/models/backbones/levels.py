# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The levels that one backbone returns for two images: how they are aligned and fused, or handed on unfused."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from mmmaskany.masking import reused_size
from mmmaskany.masking.masking import resize

from ..stems import build_fusion

#: Sides of images that show what a host returns. Small windows and strides take the first, large ones a later one.
_SIDES = (256, 224, 512, 1024, 2048)


class BranchLevels(tuple):
    """The levels of the visible and of the reused image, unfused, which :class:`.MaskAnyNeck` takes and nothing else.

    Other necks and heads take what a backbone returns for a sequence of levels, and would go on with those of one
    image. Nothing can be taken out of this one by its number, or counted: whatever tries is told what is missing.

    Args:
        visible (Sequence[Tensor]): The levels of the visible image.
        reused (Sequence[Tensor]): The levels of the reused image.
    """

    visible: tuple[Tensor, ...]
    reused: tuple[Tensor, ...]

    def __new__(cls, visible: Sequence[Tensor], reused: Sequence[Tensor]) -> BranchLevels:
        levels = super().__new__(cls)
        levels.visible, levels.reused = tuple(visible), tuple(reused)
        return levels

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(NEEDS_NECK)

    __len__ = __iter__ = __getitem__ = __contains__ = __add__ = __reversed__ = _refuse

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict | None = None
    ) -> NoReturn:
        raise TypeError(NEEDS_NECK)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f'{name!r} of a tensor was asked for, but {NEEDS_NECK}')

    def __getnewargs__(self) -> tuple:
        return self.visible, self.reused

    def __repr__(self) -> str:
        return f'{type(self).__name__}(visible={self.visible}, reused={self.reused})'


NEEDS_NECK = (
    "a backbone with fuse_at='neck' returns the levels of both images, which mmmaskany.MaskAnyNeck alone takes: add "
    "neck=dict(type='mmmaskany.MaskAnyNeck', in_channels=..., neck=...), or take fuse_at='levels', whose levels any "
    'neck and head takes'
)


class Layout(NamedTuple):
    """How the features of a level lie.

    Args:
        kind (str): 'map', ``(B, C, H, W)``; 'map_last', ``(B, H, W, C)`` as of timm's Swin; 'tokens', ``(B, L, C)``; or
            'vector', ``(B, C)``.
        channels (int): C.
        extra (int): How many tokens stand before those of the patches, such as a class token. Defaults to 0.
    """

    kind: str
    channels: int
    extra: int = 0


# ---------------------------------------------------------------------- fusing


def fuse_level(
    fusion: nn.Module,
    layout: Layout,
    visible: Tensor,
    reused: Tensor,
    sizes: Sequence[tuple[int, ...]] | None = None,
) -> Tensor:
    """Bring a level of the reused image to the size of the visible image's, and fuse both.

    Args:
        fusion (nn.Module): The fusion. It sees maps: a vector as one of one pixel, tokens as one of a column.
        layout (Layout): How the features of both lie.
        visible (Tensor): The level of the visible image.
        reused (Tensor): The level of the reused image; a map is resized bilinearly, and so are the tokens of patches.
        sizes (Sequence[tuple[int, ...]] | None): Height and width of both images in px, which tell the proportions of
            tokens. Defaults to None.

    Returns:
        Tensor: As ``visible``.

    Raises:
        ValueError: If the tokens fit no map of the image.
    """
    if layout.kind == 'map':
        return fusion(visible, resize(reused, visible.shape[2:]))
    if layout.kind == 'map_last':
        visible, reused = visible.permute(0, 3, 1, 2), reused.permute(0, 3, 1, 2)
        return fusion(visible, resize(reused, visible.shape[2:])).permute(0, 2, 3, 1).contiguous()
    if layout.kind == 'vector':
        return fusion(visible[..., None, None], reused[..., None, None])[..., 0, 0]
    if visible.shape != reused.shape:
        assert sizes is not None  # tokens of two numbers are those of images
        reused = _align_tokens(reused, visible, layout.extra, sizes)
    visible, reused = (tokens.transpose(1, 2)[..., None] for tokens in (visible, reused))
    return fusion(visible, reused)[..., 0].transpose(1, 2).contiguous()


def _align_tokens(tokens: Tensor, like: Tensor, extra: int, sizes: Sequence[tuple[int, ...]]) -> Tensor:
    """Resize the map that tokens form to that of others; the tokens before them stay."""
    size = as_map(like, sizes[0], extra).shape[2:]
    patches = resize(as_map(tokens, sizes[1], extra), size).flatten(2).transpose(1, 2)
    return torch.cat([tokens[:, :extra], patches], 1) if extra else patches


def as_map(features: Tensor, size: tuple[int, ...], extra: int = 0) -> Tensor:
    """Bring features into the form of a map: tokens are laid out, what comes before the patches is dropped.

    Args:
        features (Tensor): A map ``(B, C, h, w)``, or ``(B, h, w, C)`` as of timm's Swin, or tokens ``(B, L, C)``.
        size (tuple[int, ...]): Height and width of the image in pixels, which tell the proportions of the tokens.
        extra (int): How many tokens stand before those of the patches, such as a class token. Defaults to 0.

    Returns:
        Tensor: ``(B, C, h, w)``.

    Raises:
        ValueError: If the features fit no map of the image.
    """
    height, width = size

    def fits(rows: int, cols: int) -> bool:
        """Tell whether so many strides cover the image: the last row and column may lie over its edge."""
        least, most = max((height / rows, width / cols)), min(height / max(rows - 1, 0.5), width / max(cols - 1, 0.5))
        return least <= most + 1e-6

    if features.ndim == 4:
        last = fits(*features.shape[1:3]) and not fits(*features.shape[2:])
        return features.permute(0, 3, 1, 2) if last else features
    count = features.shape[1] - extra
    if features.ndim == 3 and count > 0:
        middle = round(math.sqrt(count * height / width))
        for rows in range(max(1, middle - 1), middle + 2):
            if count % rows == 0 and fits(rows, count // rows):
                return features[:, extra:].unflatten(1, (rows, count // rows)).permute(0, 3, 1, 2)
    raise ValueError(
        f'the target layer must return a map (B, C, h, w) or tokens (B, L, C) of an image of {height} x {width} px, '
        f'but got {tuple(features.shape)}' + (f', {extra} of them not of patches' if extra else '')
    )


def extra_tokens(backbone: nn.Module) -> int:
    """Count the tokens that a backbone puts before those of the patches: class and distillation token."""
    names = [name.rpartition('.')[2] for name, _ in backbone.named_parameters()]
    return getattr(backbone, 'num_extra_tokens', sum(name in ('cls_token', 'dist_token') for name in names))


# ---------------------------------------------------------------------- what a host returns


def flat_levels(outputs: Any) -> Iterator[Tensor]:
    """Yield the tensors of what a backbone returns, also those within a level: class token and map, or two tokens."""
    if isinstance(outputs, (tuple, list)):
        for part in outputs:
            yield from flat_levels(part)
    else:
        yield outputs


def map_levels(function: Callable[[Tensor, Tensor], Tensor], visible: Any, reused: Any) -> Any:
    """Call a function with each two tensors of what a backbone returned for two images, and keep their structure."""
    if isinstance(visible, (tuple, list)):
        return type(visible)(map_levels(function, *pair) for pair in zip(visible, reused, strict=True))
    return function(visible, reused)


def find_layouts(host: nn.Module) -> list[Layout]:
    """Find out what a backbone returns, by a run on two sizes of image that computes nothing.

    What differs between the sizes is height and width, or the number of tokens.

    Args:
        host (nn.Module): The backbone.

    Returns:
        list[Layout]: Of each of its levels.

    Raises:
        ValueError: If it takes no image at half of a size that it takes, or returns something else than maps, tokens
            and vectors.
    """
    network = copy.deepcopy(host).to('meta', torch.float32)
    network.eval()  # of mmpretrain's backbones it returns None
    channels = next((module.in_channels for module in host.modules() if isinstance(module, nn.Conv2d)), 3)
    error = None
    for size in dict.fromkeys([*_own_sizes(host), *((side, side) for side in _SIDES)]):
        sizes = size, reused_size(*size)
        try:
            with torch.no_grad():
                outputs = [list(flat_levels(network(torch.empty(1, channels, *each, device='meta')))) for each in sizes]
        except Exception as problem:  # whatever a host may raise
            error = error or problem
            continue
        extra = extra_tokens(host)
        levels = enumerate(zip(*outputs, strict=True))
        return [_layout(index, large, small, extra, sizes) for index, (large, small) in levels]
    text = str(error).strip().partition('\n')[0]
    raise ValueError(
        f'late fusion runs {type(host).__name__} on the image and on the reused one, at half its size, but it fails: '
        f"{type(error).__name__}: {text}. Take fuse_at='stem' where it takes images of one size only"
    ) from error


def _own_sizes(host: nn.Module) -> Iterator[tuple[int, int]]:
    """Yield the sizes of image that a host was built for."""
    for module in host.modules():
        size = getattr(module, 'img_size', None) or getattr(module, 'init_input_size', None)
        size = (size, size) if isinstance(size, int) else size
        if isinstance(size, (tuple, list)) and len(size) == 2 and all(isinstance(side, int) for side in size):
            yield tuple(size)
            return


def _layout(index: int, large: Any, small: Any, extra: int, sizes: tuple) -> Layout:
    if isinstance(large, Tensor):
        shape = tuple(large.shape)
        differ = [dim for dim, side in enumerate(shape) if side != small.shape[dim]]
        if len(shape) == 4 and differ in ([2, 3], []):
            return Layout('map', shape[1])
        if len(shape) == 4 and differ == [1, 2]:
            return Layout('map_last', shape[3])
        if len(shape) == 3 and differ in ([1], []):
            if differ:
                _align_tokens(small, large, extra, sizes)  # raises where they form no map
            return Layout('tokens', shape[2], extra)
        if len(shape) == 2 and not differ:
            return Layout('vector', shape[1])
    got = f'the shape {tuple(large.shape)}' if isinstance(large, Tensor) else f'a {type(large).__name__}'
    raise ValueError(
        f'a level must be a map (B, C, H, W), tokens (B, L, C) or a vector (B, C) to be fused, but level {index} is of '
        f"{got}: take fuse_at='stem'"
    )


def build_level_fusions(fusion: str | dict | nn.Module, channels: Sequence[int]) -> nn.ModuleList:
    """Build a fusion for each level.

    Args:
        fusion (str | dict | nn.Module): See :func:`build_fusion`; of a built one each level gets a copy.
        channels (Sequence[int]): Channels of each level.

    Returns:
        nn.ModuleList: The fusions.

    Raises:
        ValueError: If the fusion is not known, or does not take and return these channels.
    """
    return nn.ModuleList(build_fusion(copy.deepcopy(fusion), count) for count in channels)
