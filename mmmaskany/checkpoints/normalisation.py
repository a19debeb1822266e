# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How the images were prepared that weights were trained with, where their source tells it."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

#: The source of what a file's own config says.
OWN_CONFIG = 'its config says so'


class Normalisation(NamedTuple):
    """What weights want of their images.

    Args:
        mean (tuple[float, ...]): Of each channel, for pixels from 0 to 255.
        std (tuple[float, ...]): Likewise.
        to_rgb (bool): Whether the channels are red, green, blue; else blue, green, red.
        interpolation (str | None): How images are resized, in the words of MMCV and timm ('bicubic').
        size (int | None): Side of the square at evaluation, in px.
        crop (float | None): Its part of the resized short side, such as 0.875.
        source (str): Who says so.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    to_rgb: bool = True
    interpolation: str | None = None
    size: int | None = None
    crop: float | None = None
    source: str = ''

    def differs_from(self, made: Normalisation, near: float = 2.0) -> str:
        """Say how images are made otherwise.

        Args:
            made (Normalisation): How they are made, see :func:`normalisation_of`.
            near (float): What numbers may differ by, for pixels from 0 to 255. Defaults to 2.

        Returns:
            str: The differences, '' where there are none.
        """
        found = []
        if made.to_rgb != self.to_rgb:
            found.append(f'{_order(made.to_rgb)} channels instead of {_order(self.to_rgb)}')
        for what, own, wanted in (('mean', made.mean, self.mean), ('std', made.std, self.std)):
            own = own * len(wanted) if len(own) == 1 else own
            if len(own) == len(wanted) and any(abs(a - b) > near for a, b in zip(own, wanted, strict=True)):
                found.append(f'{what} {list(own)} instead of {[round(value, 3) for value in wanted]}')
        return ', '.join(found)


def swaps_channels(preprocessor: nn.Module) -> bool:
    """Tell whether a data preprocessor of OpenMMLab turns the channels of an image round.

    Args:
        preprocessor (nn.Module): Of mmengine, mmpretrain, mmdet or mmseg, which each name it differently.

    Returns:
        bool: Whether it does.
    """
    names = 'to_rgb', '_channel_conversion', 'channel_conversion'
    return any(getattr(preprocessor, name, False) for name in names)


def normalisation_of(preprocessor: nn.Module, loaded_rgb: bool = False) -> Normalisation:
    """Return how a data preprocessor of OpenMMLab makes images.

    Args:
        preprocessor (nn.Module): With ``mean`` and ``std`` where it normalises.
        loaded_rgb (bool): Whether the images that it gets are red, green, blue, as CIFAR's are, and not in the order of
            OpenCV. Defaults to False.

    Returns:
        Normalisation: Its numbers; 0 and 1 where it does not normalise.
    """
    mean, std = (
        tuple(round(float(value), 3) for value in values.flatten()) if isinstance(values, Tensor) else default
        for values, default in (
            (getattr(preprocessor, 'mean', None), (0.0,)),
            (getattr(preprocessor, 'std', None), (1.0,)),
        )
    )
    return Normalisation(mean, std, swaps_channels(preprocessor) != loaded_rgb)


def _order(to_rgb: bool) -> str:
    return 'RGB' if to_rgb else 'BGR'


def find_normalisation(path: str, checkpoint: Mapping) -> Normalisation | None:
    """Find out how the images were prepared that a file was trained with.

    Asked are, one after the other, the config that the file holds (OpenMMLab), ``config.json`` beside it (timm on a
    hub), ``preprocessor_config.json`` (transformers), and by the name under which they publish a file torchvision, timm
    and mmpretrain, as far as installed.

    Args:
        path (str): The file, or its address.
        checkpoint (Mapping): What it holds.

    Returns:
        Normalisation | None: None where nobody says.
    """
    name = str(path).rpartition('/')[2]
    beside = (_of_config, _of_json, _of_transformers)
    for ask in (*beside, _of_lite, _of_torchvision, _of_timm, _of_mmpretrain):
        found = ask(checkpoint, path) if ask in beside else ask(name)
        if found is not None:
            return found
    return None


def _of_config(checkpoint: Mapping, path: str) -> Normalisation | None:
    meta = checkpoint.get('meta')
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    if not isinstance(text, str):
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    # The argument of the model's counts before `data_preprocessor = dict(...)`, which is for models without one.
    for node in sorted(ast.walk(tree), key=lambda node: not isinstance(node, ast.keyword)):
        name = node.arg if isinstance(node, ast.keyword) else None
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        if name == 'data_preprocessor' and isinstance(node.value, ast.Call):
            values = {}
            for argument in node.value.keywords:
                with contextlib.suppress(ValueError):
                    values[argument.arg] = ast.literal_eval(argument.value)
            if values.get('mean') is not None and values.get('std') is not None:
                return _of_preprocessor(values, OWN_CONFIG)
    return None


def _of_preprocessor(values: Mapping, source: str) -> Normalisation:
    to_rgb = bool(values.get('to_rgb') or values.get('bgr_to_rgb'))
    return Normalisation(tuple(values['mean']), tuple(values['std']), to_rgb, source=source)


def _of_pretrained_cfg(cfg: Mapping, source: str) -> Normalisation:
    return Normalisation(
        tuple(255 * value for value in cfg['mean']),
        tuple(255 * value for value in cfg['std']),
        True,
        cfg.get('interpolation'),
        (cfg.get('input_size') or (None,))[-1],
        cfg.get('crop_pct'),
        source,
    )


def _of_json(checkpoint: Mapping, path: str) -> Normalisation | None:
    file = _beside(path, 'config.json')
    try:
        return file and _of_pretrained_cfg(json.loads(file.read_bytes())['pretrained_cfg'], f'{file} says so')
    except (ValueError, LookupError, AttributeError, TypeError):
        return None


def _beside(path: str, name: str) -> Path | None:
    """Return a file beside a checkpoint that has a suffix of the hubs, None where there is none."""
    file = Path(path).with_name(name)
    return file if str(path).endswith(('.safetensors', '.bin')) and file.is_file() else None


def _of_transformers(checkpoint: Mapping, path: str) -> Normalisation | None:
    file = _beside(path, 'preprocessor_config.json')
    try:
        return file and _of_image_processor(json.loads(file.read_bytes()), f'{file} says so')
    except (ValueError, LookupError, AttributeError, TypeError, ZeroDivisionError):
        return None


def _of_image_processor(cfg: Mapping, source: str) -> Normalisation | None:
    """Read what transformers writes of an image processor: resize, crop, times ``rescale_factor``, normalise."""
    scale = cfg.get('rescale_factor', 1 / 255) if cfg.get('do_rescale', True) else 1
    if not cfg.get('do_normalize', True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    elif cfg.get('image_mean') is None or cfg.get('image_std') is None or cfg.get('rescale_offset'):
        return None  # what a class takes where nothing is written, or shifts
    else:
        mean, std = cfg['image_mean'], cfg['image_std']
    resized, size, crop = _side(cfg.get('size')), _side(cfg.get('crop_size')), 1.0
    if size and resized and cfg.get('do_center_crop'):
        crop = round(size / resized, 4)
    else:
        size = resized
        if cfg.get('crop_pct') and size and size < 384:  # ConvNeXt's: larger images are not cropped
            crop = cfg['crop_pct']
    names = {0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'area'}  # of PIL.Image.Resampling
    return Normalisation(
        tuple(value / scale for value in mean),
        tuple(value / scale for value in std),
        not cfg.get('do_flip_channel_order', False),
        names.get(cfg.get('resample')),
        size,
        crop,
        source,
    )


def _side(size: object) -> int | None:
    """Read a size of transformers: a number, or a dict of sides or of the shortest one; None where not square."""
    if isinstance(size, Mapping):
        sides = {value for key, value in size.items() if key in ('height', 'width', 'shortest_edge')}
        return sides.pop() if len(sides) == 1 else None
    return size if isinstance(size, int) else None


def _of_lite(name: str) -> Normalisation | None:
    if not name.startswith('efficientnet-lite'):
        return None
    half = (127.5,) * 3
    sizes = {'0': 224, '1': 240, '2': 260, '3': 280, '4': 300}
    size = sizes.get(name.removeprefix('efficientnet-lite')[:1])
    return Normalisation(half, half, True, 'bicubic', size, 0.875, 'as all of EfficientNet-Lite')


@functools.cache
def _of_timm(name: str) -> Normalisation | None:
    """Ask timm, by the name of a file that it publishes, or of one of its networks (``NAME.TAG.safetensors``)."""
    if not name or importlib.util.find_spec('timm') is None:
        return None
    import timm
    from timm.models import get_pretrained_cfg

    stem = re.sub(r'\.(pth|pt|bin|safetensors|tar)$', '', name)
    if timm.is_model(stem.partition('.')[0]) and (cfg := get_pretrained_cfg(stem)) is not None:
        return _of_pretrained_cfg(cfg.to_dict(), f'timm says so of {stem}')
    for model in timm.list_pretrained():
        cfg = get_pretrained_cfg(model)
        if cfg is not None and str(cfg.url or '').endswith(f'/{name}'):
            return _of_pretrained_cfg(cfg.to_dict(), f'timm says so of {model}')
    return None


@functools.cache
def _of_torchvision(name: str) -> Normalisation | None:
    if not re.search(r'-[0-9a-f]{8}\.pth$', name):
        return None
    import torchvision

    for model in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(model):
            if weights.url.endswith(f'/{name}'):
                given = weights.transforms()
                size, resized = given.crop_size[0], given.resize_size[0]
                return Normalisation(
                    tuple(255 * value for value in given.mean),
                    tuple(255 * value for value in given.std),
                    True,
                    given.interpolation.value,
                    size,
                    round(size / resized, 4),
                    f'torchvision says so of {weights}',
                )
    return None


@functools.cache
def _of_mmpretrain(name: str) -> Normalisation | None:
    if not re.search(r'[_-][0-9a-f]{8}\.pth$', name) or importlib.util.find_spec('mmpretrain') is None:
        return None
    from mmpretrain.apis.model import ModelHub

    ModelHub._register_mmpretrain_models()
    for model in ModelHub._models_dict.values():
        if str(model.weights or '').endswith(f'/{name}'):
            cfg = ModelHub.get(model.name).config
            values = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
            if values.get('mean') is not None:
                return _of_preprocessor(values, f'mmpretrain says so of {model.name}')
    return None
