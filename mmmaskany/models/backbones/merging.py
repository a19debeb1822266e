# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Merging: both stems of a trained network in one, so that it is the plain network again."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mmmaskany.masking import half_size

from ..stems import DualStem
from .maskany import MaskAnyMixin

#: Largest difference, in float64, between the features of both stems and those of the merged one, as a share of the
#: largest feature where that is above 1.
TOLERANCE = 1e-9


class NotMergeableError(ValueError):
    """A network whose second stem is no part of the plain one."""


def merge_stems(model: nn.Module) -> nn.Module:
    r"""Return a copy of a network in which the two stems of each backbone are one, which makes it the plain network.

    Where an image is cut into patches and the fusion adds or concatenates (ViT, DeiT, BEiT, Swin, ConvNeXt), both
    stems are linear in the image, for the mean of 2 x 2 pixels is: :math:`W \ast x + \gamma \odot (W_r \ast x_{1/2})`
    is one convolution with the kernel :math:`W + \gamma \odot W_r^{\uparrow} / 4`, where each weight of
    :math:`W_r` is repeated 2 x 2 times. The same holds for the bias. So the outputs are equal wherever the size of
    the patches divides both sides of the image, and, where the host cuts off what is left (ConvNeXt, ViT), at any even
    sides. Of other sizes the reused image is resized or padded, and the outputs are only close.

    A reused stem that contributes nothing, as after adoption, is left out of any network.

    Args:
        model (nn.Module): A backbone with a second stem, or a network that holds one. Left as it is.

    Returns:
        nn.Module: The plain network, of the host's class and with its names.

    Raises:
        NotMergeableError: If there is no second stem, or something between the image and the fusion is not linear.
    """
    model = copy.deepcopy(model)
    backbones = {name: module for name, module in model.named_modules() if isinstance(module, MaskAnyMixin)}
    if not backbones:
        raise NotMergeableError(f'a network to merge must have a second stem, but {type(model).__name__} has none')
    for backbone in backbones.values():
        if backbone.dual_stem is None:
            raise NotMergeableError(
                f"{type(backbone).__name__} has no second stem to merge: with fuse_at='neck' or 'levels' it runs on "
                'both images, and is the plain network on each'
            )
        owner, _, name = backbone.stem_parts[-1].rpartition('.')
        try:
            stem = merge(backbone.dual_stem)
        except NotMergeableError as error:
            raise NotMergeableError(f'the stems of {type(backbone).__name__} cannot be merged: {error}') from error
        setattr(backbone.get_submodule(owner), name, stem)
        _make_plain(backbone)
    return model


def merge(stem: DualStem) -> nn.Module:
    """Return the one stem that does what both do.

    Args:
        stem (DualStem): The dual stem; left as it is.

    Returns:
        nn.Module: What takes its place in the host.

    Raises:
        NotMergeableError: If there is no such stem. The message says why.
    """
    stem = copy.deepcopy(stem)
    visible, reused, fusion = stem.visible, stem.reused, stem.fusion
    if fusion.is_silent():
        return visible
    between = [type(module).__name__ for module in reused.modules() if not [*module.children()]]
    if not isinstance(visible, nn.Conv2d) or not isinstance(reused, nn.Conv2d):
        raise NotMergeableError(
            f'a stem must be one convolution, but {", ".join(between)} lie between the image and the fusion, and not '
            'all of them are linear. Deploy it as it is'
        )
    if visible.kernel_size != visible.stride or visible.kernel_size != tuple(2 * side for side in reused.kernel_size):
        raise NotMergeableError(
            f'a stem must cut patches that do not overlap, but has the kernel {visible.kernel_size} at stride '
            f'{visible.stride}, and that of the reused image, {reused.kernel_size}, reaches twice as far: the plain '
            'network has no kernel so large. Deploy it as it is'
        )
    if not getattr(fusion, 'linear', False):
        raise NotMergeableError(
            f'the fusion must be linear, as AddFusion and ConcatFusion are, but is {type(fusion).__name__}. Deploy it '
            'as it is'
        )

    dtype, exact = visible.weight.dtype, stem.double().cpu().eval()
    kernel = reused.weight.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
    # A fusion works on each pixel alone, so what it does to the features it does to the kernels.
    weight = fusion(visible.weight.transpose(0, 1), kernel.transpose(0, 1)).transpose(0, 1)
    merged = copy.deepcopy(visible)
    merged.out_channels, merged.weight = len(weight), nn.Parameter(weight.detach().contiguous())
    if visible.bias is not None and reused.bias is not None:
        bias = fusion(visible.bias.view(1, -1, 1, 1), reused.bias.view(1, -1, 1, 1))
        merged.bias = nn.Parameter(bias.detach().flatten())
    difference = _difference(exact, merged)
    if not difference <= TOLERANCE:
        raise NotMergeableError(
            f'{type(fusion).__name__} says that it is linear, but the merged stem differs from both by {difference:.1e}'
        )
    return merged.to(dtype)


@torch.no_grad()
def _difference(stem: DualStem, merged: nn.Conv2d) -> float:
    """Compare on drawn images what both stems return with what the merged one does."""
    height, width = (3 * side for side in merged.kernel_size)
    generator = torch.Generator().manual_seed(0)
    shape = (2, merged.in_channels, height, width)
    image: Tensor = torch.randn(shape, generator=generator, dtype=merged.weight.dtype)
    stem.reused_image = half_size(image)
    expected = stem(image)
    return ((expected - merged(image)).abs().max() / expected.abs().max().clamp(min=1)).item()


def _make_plain(backbone: MaskAnyMixin) -> None:
    """Turn a backbone whose dual stem was replaced into one of the host's class."""
    for name in ('stem_parts', 'halved', 'fuse_at', 'filled', 'frozen'):
        backbone.__dict__.pop(name, None)
    del backbone.masking
    mro = type(backbone).__mro__
    backbone.__class__ = mro[mro.index(MaskAnyMixin) + 1]
