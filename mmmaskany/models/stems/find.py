# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How the stem of a backbone is found, and its half-stride copy, the reused stem, is made."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

#: Where the stems of the families are: modules in the order they run, of which the last one is where the features are
#: fused. A host's stem is the first row that it has every name of. ``norm1`` and ``norm2`` stand for the names that the
#: host's ``norm1_name`` and ``norm2_name`` give. Where an image is cut into patches, the stem is the projecting
#: convolution alone: padding before it, flattening and normalising after it stay the host's.
_STEMS = (
    ('stem', 'maxpool'),  # ResNetV1c, ResNetV1d, ResNeSt, Res2Net
    ('conv1', 'norm1', 'relu', 'conv2', 'norm2'),  # HRNet, whose ReLU follows both norms
    ('conv1', 'bn1', 'act1', 'conv2', 'bn2'),  # timm's HRNet
    ('conv1', 'norm1', 'relu', 'maxpool'),  # ResNet, ResNeXt, SE-ResNet
    ('conv1', 'bn1', 'act1', 'maxpool'),  # Conformer, timm's ResNet
    ('conv1', 'norm1', 'relu'),  # RegNet, ResNet_CIFAR
    ('conv1', 'maxpool'),  # ShuffleNet
    ('conv_stem', 'bn1'),  # timm's EfficientNet and MobileNetV3
    ('features.conv0', 'features.norm0', 'features.relu0', 'features.pool0'),  # torchvision's DenseNet
    ('features.conv0', 'features.norm0', 'features.pool0'),  # timm's DenseNet
    ('patch_embed.projection',),  # ViT, DeiT, DeiT-III, BEiT, MAE, Swin v1 and v2, MViT, DaViT, MLP-Mixer
    ('patch_embed.proj',),  # PoolFormer, RIFormer, HiViT, XCiT, timm's ViT and Swin
    ('patch_embed.conv',),  # timm's PiT
    ('patch_embed.seq',),  # TinyViT
    ('patch_embed.patch_embed',),  # LeViT
    ('patch_embed',),  # EfficientFormer
    ('patch_embed1.projection',),  # VAN
    ('patch_embed1.proj',),  # MSCAN
    ('patch_embeds.0.projection',),  # Twins
    ('downsample_layers.0.0',),  # ConvNeXt v1 and v2, HorNet, EdgeNeXt
    ('layers.0.0.projection',),  # PVT, SegFormer's Mix Transformer
    ('pixel_embed.proj',),  # TNT
    ('conv_proj',),  # torchvision's ViT
    ('stem.proj',),  # timm's MLP-Mixer
    ('stem_0',),  # timm's ConvNeXt as a pyramid
    ('stem',),  # RepVGG, MobileViT, CSPNeXt, Hourglass, timm's ConvNeXt and RegNet
    ('features.0',),  # torchvision's ConvNeXt, Swin, EfficientNet, MobileNetV2 and MobileNetV3
    ('layers.0',),  # EfficientNet v1 and v2
    ('layer0',),  # MobileNetV3
    ('conv1',),  # MobileNetV2
    ('stage0',),  # MobileOne
)

#: Where a host that only holds another network has it: TIMMBackbone, and timm's ViT as a pyramid.
_INSIDE = ('', 'timm_model.', 'timm_model.model.', 'model.')

#: What to do about a stem whose stride cannot be halved.
_WAY_OUT = "name another module as `stem`, or take fuse_at='levels', which needs no second stem"

_LAYERS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)

#: The stems of further families, the newest first: the class of their hosts, or None, and the names of the modules.
_registered: list[tuple[type | None, tuple[str, ...]]] = []


def register_stem(*parts: str, host: type | None = None) -> None:
    """Register the stem of a new backbone family, so that :func:`.MaskAny` finds it as it finds those that are known.

    Args:
        *parts (str): Names of the host's modules that form its stem, in the order they run, as
            ``host.named_modules()`` has them; the features are fused behind the last one. ``norm1`` and ``norm2``
            stand for what the host's ``norm1_name`` and ``norm2_name`` say.
        host (type | None): The class of the hosts; those derived from it have this stem, too. None is any host that
            has modules of all of these names, one inside of a TIMMBackbone as well. Defaults to None.

    Raises:
        TypeError: If a name is no text, or ``host`` no class of modules.
        ValueError: If there is no name, one is empty, or they lie in different modules.

    Example:
        >>> register_stem('entry.conv', 'entry.norm', host=torch.nn.Identity)
    """
    for part in parts:
        if not isinstance(part, str):
            raise TypeError(f'the parts of a stem must be names of modules, but got {part!r}')
    if not parts or not all(parts):
        raise ValueError(f'a stem must have at least one module, each with a name, but got {parts}')
    if len({part.rpartition('.')[0] for part in parts}) > 1:
        raise ValueError(f'the modules of a stem must lie side by side in one module of the host, but got {parts}')
    if host is not None and not (isinstance(host, type) and issubclass(host, nn.Module)):
        raise TypeError(f'host must be a class of modules, but got {host!r}')
    if (host, parts) in _registered:  # its module was imported again
        _registered.remove((host, parts))
    _registered.insert(0, (host, parts))


@dataclass(frozen=True)
class Stem:
    """The stem of a host backbone.

    Args:
        parts (tuple[str, ...]): Names of the host's modules that form it, in the order they run. The last one is
            where the features are fused.
        reused (nn.Module): The stem of the reused image, a copy with half the stride; its parts bear the same names.
        stride (float): Stride of the reused stem, 0.5 where the host's stem has stride 1.
        channels (int): Channels that both return.
        halved (tuple[str, ...]): Kernels of the reused stem that are the host's at half size. Defaults to ().
    """

    parts: tuple[str, ...]
    reused: nn.Module
    stride: float
    channels: int
    halved: tuple[str, ...] = ()


def find_stem(host: nn.Module, name: str | None = None) -> Stem:
    """Find the stem of a backbone and make the reused stem, its half-stride copy.

    In the copy the last strided layer (of parallel branches, as in RepVGG, the last of each) has half its stride, and
    padding enough to return the same size. A layer that cuts patches, whose kernel is as large as its stride, has half
    the kernel too, see :func:`halve_kernel`. A ResNet_CIFAR has stride 1: the copy stays as it is, and its features are
    upsampled.

    Args:
        host (nn.Module): The backbone.
        name (str | None): Name of the module that is the stem, for a backbone of another family, such as
            ``'features.0'``. Defaults to None.

    Raises:
        ValueError: If no stem is found, the named one does not exist, it takes no image or returns no feature map,
            or its stride cannot be halved.
    """
    parts = _known(host) if name is None else _named(host, name)
    where = f'the stem {parts} of {type(host).__name__}'
    stem = copy.deepcopy(host.get_submodule(parts[0]))
    if len(parts) > 1:
        stem = nn.Sequential()
        for part in parts:
            stem.add_module(part.rpartition('.')[2], copy.deepcopy(host.get_submodule(part)))

    convs = [module for module in stem.modules() if isinstance(module, nn.Conv2d)]
    if not convs:
        raise ValueError(f'{where} must hold a convolution, but has none; {_WAY_OUT}')
    first = next(module for module in host.modules() if isinstance(module, nn.Conv2d))
    if convs[0].in_channels != first.in_channels:
        raise ValueError(
            f'{where} must take the image, of {first.in_channels} channels as the first convolution does, '
            f'but takes {convs[0].in_channels}; {_WAY_OUT}'
        )
    strides = [_side(layer.stride) for layer in _strided(stem)]
    image, unit = (1, convs[0].in_channels), 16 * math.prod(strides)
    try:
        small, large = (dry_run(stem, (*image, side, side)) for side in (unit, 2 * unit))
        stride = unit / (large[2] - small[2])
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f'{where} must return a feature map of an image, but: {error}; {_WAY_OUT}') from error
    if stride == 1:
        if name is None and parts[-1] == 'relu':  # ResNet_CIFAR
            return Stem(parts, stem, 0.5, small[1])
        raise ValueError(f'{where} must have a stride that can be halved, but its stride is 1; {_WAY_OUT}')

    half_image = (*image, *(math.ceil(side * stride / 2) for side in small[2:]))
    for count in range(1, len(strides) + 1):
        half = copy.deepcopy(stem)
        try:
            _halve_last(half, count)
        except ValueError as error:
            raise ValueError(f'{where} {error}; {_WAY_OUT}') from error
        if _returns(half, half_image, small) or _returns(_padded(half), half_image, small):
            shapes = {key: value.shape for key, value in stem.named_parameters()}
            halved = tuple(key for key, value in half.named_parameters() if value.shape != shapes[key])
            return Stem(parts, half, stride / 2, small[1], halved)
    raise ValueError(f'{where} must return the same size at half its stride, but does not; {_WAY_OUT}')


def halve_kernel(kernel: Tensor) -> Tensor:
    """Return the kernel of patches that does to an image at half size what ``kernel`` does to the image.

    Each weight is the sum of 2 x 2 weights. Wherever the image is constant on 2 x 2 pixels, both return the same.

    Args:
        kernel (Tensor): ``(out, in, p, p)``, p even.

    Returns:
        Tensor: ``(out, in, p / 2, p / 2)``.
    """
    return kernel.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).sum(dim=(3, 5))


def dry_run(module: nn.Module, *shapes: tuple[int, ...]) -> torch.Size:
    """Find out the shape of what a module returns, without computing anything or touching its state.

    Args:
        module (nn.Module): The module.
        *shapes (tuple[int, ...]): Shapes of its inputs.

    Returns:
        torch.Size: ``(B, C, h, w)``.

    Raises:
        ValueError: If it fails, or returns no feature map.
    """
    module = copy.deepcopy(module).to('meta', torch.float32).eval()
    try:
        with torch.no_grad():
            output = module(*(torch.empty(shape, device='meta') for shape in shapes))
    except Exception as error:  # whatever a module of the user's may raise
        raise ValueError(f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}') from error
    if not isinstance(output, Tensor) or output.dim() != 4:
        got = f'the shape {tuple(output.shape)}' if isinstance(output, Tensor) else f'a {type(output).__name__}'
        raise ValueError(f'it returns {got}')
    return output.shape


def _known(host: nn.Module) -> tuple[str, ...]:
    """Return the parts of a stem of one of the known families."""
    modules = dict(host.named_modules(remove_duplicate=False))
    own = {norm: getattr(host, f'{norm}_name', norm.replace('norm', 'bn')) for norm in ('norm1', 'norm2')}
    for family, row in _registered:
        if family is not None and isinstance(host, family):
            parts = tuple(own.get(part, part) for part in row)
            lacking = [part for part in parts if part not in modules]
            if lacking:
                raise ValueError(
                    f'{type(host).__name__} must have the modules that were registered as the stem of '
                    f'{family.__name__}, {row}, but has no {", ".join(lacking)}'
                )
            return parts
    rows = [*(row for family, row in _registered if family is None), *_STEMS]
    for inside in _INSIDE:
        for row in rows:
            parts = tuple(inside + own.get(part, part) for part in row)
            if all(part in modules for part in parts):
                return _cutting(modules, parts)
    first = next((name for name, module in modules.items() if isinstance(module, nn.Conv2d)), None)
    raise ValueError(
        f'the stem of {type(host).__name__} is not known; it has {[child for child, _ in host.named_children()][:8]}. '
        + (f'Name the module, as in stem={first!r}, its first convolution, or' if first else 'It has no convolution:')
        + " take fuse_at='levels', which needs no second stem"
    )


def _cutting(modules: dict[str, nn.Module], parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the convolution alone where a stem of one module begins by cutting the image into patches."""
    first = f'{parts[0]}.0'
    layer = modules.get(first)
    cuts = isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride
    return (first,) if len(parts) == 1 and cuts else parts


def _named(host: nn.Module, name: str) -> tuple[str, ...]:
    """Return the part that the user named."""
    if not isinstance(name, str):
        raise TypeError(f'stem must be the name of one module, but got {name!r}')
    if not name or name not in dict(host.named_modules(remove_duplicate=False)):
        children = [child for child, _ in host.named_children()]
        raise ValueError(f'{type(host).__name__} has no module named {name!r} to be its stem; it has {children}')
    return (name,)


def _side(size: int | tuple[int, ...]) -> int:
    """Return a stride or a kernel size as one number."""
    if isinstance(size, int):
        return size
    if size[0] != size[1]:
        raise ValueError(f'a stem must have the same strides, kernels and padding in both directions, but got {size}')
    return size[0]


def _like(size: int | tuple[int, ...], side: int) -> Any:
    return side if isinstance(size, int) else (side, side)


def _half(size: int | tuple[int, ...]) -> Any:
    return _like(size, _side(size) // 2)


def _strided(stem: nn.Module) -> list[nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d]:
    """Return the layers that make the map smaller."""
    return [module for module in stem.modules() if isinstance(module, _LAYERS) and _side(module.stride) > 1]


def _halve_last(stem: nn.Module, count: int) -> None:
    """Halve the strides of the last strided layers, and the kernels of those that cut patches."""
    last = _strided(stem)[-count:]
    for layer in last:
        patches = _side(layer.kernel_size) == _side(layer.stride)
        if _side(layer.stride) % 2:
            raise ValueError(f'must have an even {"patch size" if patches else "stride"} to be halved, but has {layer}')
        layer.stride = _half(layer.stride)
        if patches:
            layer.kernel_size = _half(layer.kernel_size)
            if isinstance(layer, nn.Conv2d):
                layer.weight = nn.Parameter(halve_kernel(layer.weight.detach()), layer.weight.requires_grad)
    blocks: list[Any] = [*stem.modules()]
    for block in blocks:  # those that repeat the stride of their layers, to build others by it
        if not isinstance(block, _LAYERS) and hasattr(block, 'stride') and not {*block.modules()}.isdisjoint(last):
            block.stride = _half(block.stride)


def _padded(stem: nn.Module) -> nn.Module:
    """Pad every layer as much as its kernel reaches beyond its stride, for a stem that the host padded less."""
    for layer in stem.modules():
        if isinstance(layer, _LAYERS) and not isinstance(layer.padding, str):
            reach = math.ceil((_side(layer.kernel_size) - _side(layer.stride)) / 2)
            layer.padding = _like(layer.padding, max(_side(layer.padding), reach))
    return stem


def _returns(stem: nn.Module, shape: tuple[int, ...], wanted: torch.Size) -> bool:
    """Tell whether a stem returns a map of the shape that is wanted."""
    try:
        return dry_run(stem, shape) == wanted
    except ValueError:  # parallel branches of different strides
        return False
