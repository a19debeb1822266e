# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The plain network of an experiment: by its name or config, with the weights that it starts from."""

from __future__ import annotations

import copy
import importlib.util
import timeit
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmmaskany.checkpoints.mismatch import CheckpointMismatchError
from mmmaskany.checkpoints.reading import Weights, guess_networks, place, read_weights, silence
from mmmaskany.engine.checks.config import read_config
from mmmaskany.engine.hooks.channels_last_hook import unsafe_on_cpu
from mmmaskany.hub.model_index import spelled_alike

#: What is taken without weights and without a name.
DEFAULT = 'resnet18_8xb32_in1k'
#: How images are brought to a network whose own way is not known: ImageNet's colours in RGB.
IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), to_rgb=True)
#: Strides of the levels that a pyramid takes.
STRIDES = (4, 8, 16, 32)


@dataclass
class Network:
    """A plain backbone.

    Args:
        name (str): What it is called.
        backbone (dict): Its config, with its library's prefix.
        channels (list[int]): Channels of the levels that are used.
        neck (dict | None): What pools its features, of classification.
        head (dict | None): The head of the hub's config, of classification; None is a linear one.
        size (int): Side in pixels of the images that it runs on.
        parameters (int): Number of its parameters.
        transformer (bool): Whether it consists of attention: it takes a smaller learning rate.
        normalisation (dict): ``mean``, ``std`` and ``to_rgb``.
        interpolation (str): How images are resized.
        crop (float): The share of a resized image's side that a test sees.
        strides (list[int]): Strides of the levels.
        unsafe_channels_last (list[str]): Its convolutions that must not be trained in channels_last on a CPU.
        seconds (float | None): How long it takes on the CPU over one image of many, where it was measured.
        start (dict[str, Tensor] | None): The weights that it starts from, under its own names.
        said (list[str]): What a person should know about the weights.
    """

    name: str
    backbone: dict
    channels: list[int]
    neck: dict | None = None
    head: dict | None = None
    size: int = 224
    parameters: int = 0
    transformer: bool = False
    normalisation: dict = field(default_factory=lambda: dict(IMAGENET))
    interpolation: str = 'bilinear'
    crop: float = 0.875
    strides: list[int] = field(default_factory=list)
    unsafe_channels_last: list[str] = field(default_factory=list)
    seconds: float | None = None
    start: dict[str, Tensor] | None = None
    said: list[str] = field(default_factory=list)


def find_network(model: str | None, weights: str | Path | None, dense: bool, size: int) -> Network:
    """Build a plain backbone and fill it.

    Args:
        model (str | None): A name of mmpretrain's hub or ours, 'timm/NAME', or a config of a classifier. None takes
            the network that the weights are of.
        weights (str | Path | None): The file of its weights; 'hub' downloads those that are published with the name;
            None starts from scratch.
        dense (bool): Whether its levels are needed, for detection and segmentation.
        size (int): Side of the images. A network that runs on those alone that it was made for, as ViT and Swin of timm
            do, gets these instead.

    Returns:
        Network: The network.

    Raises:
        FileNotFoundError: If the weights are missing.
        ValueError: If there is no such network, the weights are of another one, or it has no levels.
    """
    with silence():
        return _find(model, weights, dense, size)


def _find(model: str | None, weights: str | Path | None, dense: bool, size: int) -> Network:
    init_default_scope('mmpretrain')
    read = None if weights in (None, 'hub') else read_weights(weights)
    guesses = guess_networks(read) if read is not None else []
    models = [model] if model else _first_of_each(guesses) or ([DEFAULT] if read is None else [])
    if not models:
        raise ValueError(
            f'--model must say which network {weights} is of, a name of the hub or timm/NAME, for its tensors '
            f'({", ".join(list(read.tensors)[:3])} ...) do not tell'
        )
    problem = None
    for name in models:
        found, url = (_timm(name, dense), None) if name.startswith('timm/') else _hub(name)
        module = _build(found, dense, size)
        if weights == 'hub':
            read = _download(name, url)
        if read is None:
            hub = ', --weights hub from what is published of this network' if url or name.startswith('timm/') else ''
            found.said.append(f'from scratch: --weights FILE starts from what was learned before{hub}')
            return found
        try:
            found.start = place(read, module)
        except CheckpointMismatchError as error:  # the other library may take these names
            problem = problem or ValueError(_mismatch(weights, name, guesses[0] if guesses else None, error))
            problem.__cause__ = error
            continue
        if read.normalisation:
            _normalise(found, read.normalisation._asdict())
        if model is None and name.startswith('timm/'):
            _say_others(found, guesses)
        return found
    raise problem


def _first_of_each(guesses: Sequence[str]) -> list[str]:
    """Return the likeliest network of each library, in their order."""
    firsts = {}
    for name in guesses:
        firsts.setdefault(name.startswith('timm/'), name)
    return list(firsts.values())


def _say_others(network: Network, guesses: Sequence[str]) -> None:
    """Say which networks of timm the weights may be of as well: padding, activations and colours have no shape."""
    others = [name for name in guesses if name.startswith('timm/') and name != network.name]
    if others:
        more = f' and {len(others) - 3} others' if len(others) > 3 else ''
        network.said.append(
            f'The weights may also be of {", ".join(others[:3])}{more}, whose tensors have the same shapes: --model '
            'names another.'
        )


def _mismatch(weights: str | Path, model: str, guess: str | None, error: Exception) -> str:
    probably = f'it is probably of {guess}: give --model {guess}' if guess and guess != model else str(error)
    return f'{weights} must hold the weights of {model}, but does not; {probably}'


def _timm(model: str, dense: bool) -> Network:
    """Make the network of a name of timm's."""
    if importlib.util.find_spec('timm') is None:
        raise ValueError(f'{model} needs timm, which is not installed: pip install timm')
    import timm

    name = model.removeprefix('timm/')
    if not timm.is_model(name.partition('.')[0]):
        alike = _alike(name, timm.list_models())
        raise ValueError(f'--model must name a network of timm, but got {name}{alike}')
    source = timm.get_pretrained_cfg(name)
    network = Network(model, dict(type='mmpretrain.TIMMBackbone', model_name=name), [])
    if source is not None:
        _normalise(
            network,
            dict(
                mean=[255 * value for value in source.mean],
                std=[255 * value for value in source.std],
                to_rgb=True,
                interpolation=source.interpolation,
                crop=source.crop_pct,
            ),
        )
    if dense:
        network.backbone['features_only'] = True
    return network


def _hub(model: str) -> tuple[Network, str | None]:
    """Make the network of a name of the hub, or of a config, and tell where its weights are published."""
    url = None
    if model.endswith('.py'):
        if not Path(model).is_file():
            raise FileNotFoundError(f'--model must name a config that is there, but there is no {model}')
        cfg = read_config(model)
        if not isinstance(cfg.get('model'), dict) or 'type' not in cfg.model:
            raise ValueError(f'--model must be a config with a `model` of some type, but {model} has none')
    else:
        from mmpretrain.apis import list_models
        from mmpretrain.apis.model import ModelHub

        if model.lower() not in list_models():
            raise ValueError(
                f"--model must be a name of mmpretrain's hub or ours, timm/NAME or a config, but got {model}"
                + _alike(model, list_models())
            )
        meta = ModelHub.get(model)
        cfg, url = meta.config, meta.weights
    kind = str(cfg.model.get('type')).rpartition('.')[2]
    if kind not in ('ImageClassifier', 'MaskSubClassifier'):
        raise ValueError(f'--model must be the config of a classifier, whose network is taken, but {model} is a {kind}')
    backbone = _plain(cfg.model.backbone)
    if '.' not in backbone['type']:
        backbone['type'] = f'mmpretrain.{backbone["type"]}'
    if backbone['type'].startswith('mmmaskany.'):
        raise ValueError(
            f'--model must be a plain network to go around, but {model} has the second stem of its own '
            f'({backbone["type"]})'
        )
    backbone.pop('init_cfg', None)
    network = Network(Path(model).stem, backbone, [], _plain(cfg.model.get('neck')), _plain(cfg.model.get('head')))
    pixels = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    if pixels.get('mean') is not None:
        network.normalisation = {key: pixels[key] for key in ('mean', 'std') if key in pixels}
        network.normalisation['to_rgb'] = bool(pixels.get('to_rgb', False))
    return network, url


def _alike(name: str, names: Sequence[str]) -> str:
    alike = spelled_alike(name, names)
    return f'; spelled alike are {", ".join(alike)}' if alike else ''


def _plain(node: object) -> dict | None:
    """Copy a part of a config as plain dicts, and take the network out of MaskAny."""
    if node is None:
        return None
    node = copy.deepcopy(node)
    node = node.to_dict() if isinstance(node, ConfigDict) else node
    if isinstance(node, dict) and str(node.get('type')).removeprefix('mmmaskany.') == 'MaskAny':
        return _plain(node['backbone'])
    return node


def _normalise(network: Network, source: dict) -> None:
    network.normalisation = dict(
        mean=[round(float(value), 4) for value in source['mean']],
        std=[round(float(value), 4) for value in source['std']],
        to_rgb=bool(source.get('to_rgb', True)),
    )
    if source.get('interpolation') in ('nearest', 'bilinear', 'bicubic', 'area', 'lanczos'):
        network.interpolation = source['interpolation']
    if source.get('crop'):
        network.crop = float(source['crop'])


def _build(network: Network, dense: bool, size: int) -> nn.Module:
    """Build the backbone, choose its levels, and measure them.

    Returns:
        nn.Module: The backbone.
    """
    network.size = size
    if dense:
        side = -(-size // 64) * 64  # so that every level has its stride
        module, levels = _pyramid(network, side)
        network.channels = [level.shape[1] for level in levels]
        network.strides = [round(side / level.shape[-1]) for level in levels]
    else:
        module = MODELS.build(copy.deepcopy(network.backbone))
        levels = _run_or_fit(module, network)
        last = levels[-1]
        if not torch.cuda.is_available():
            # The shortest of three: another process may take the cores in one of them.
            network.seconds = min(timeit.repeat(lambda: _run(module, network.size, count=4), number=1, repeat=3)) / 4
        if network.neck is None and network.head is None:
            network.neck = _pooling(module, last)
        network.channels = [_width(last, network)]
    network.unsafe_channels_last = unsafe_on_cpu(module)
    network.parameters = sum(parameter.numel() for parameter in module.parameters())
    network.transformer = any('attn' in name.rpartition('.')[2] for name, _ in module.named_modules())
    return module


def _run_or_fit(module: nn.Module, network: Network) -> Sequence[Tensor]:
    """Run a network on images of its size; where that fails, of the size that it was made for, which it has then."""
    try:
        return _run(module, network.size)
    except Exception:  # whatever a host raises for images that do not fit
        own = _made_for(network)
        if own == network.size:
            raise
        levels = _run(module, own)
        network.size = own
        return levels


def _made_for(network: Network) -> int:
    """Return the side in pixels of the images that a network was made for."""
    if network.backbone['type'] == 'mmpretrain.TIMMBackbone':
        import timm

        source = timm.get_pretrained_cfg(network.backbone['model_name'])
        return 224 if source is None else source.input_size[-1]
    size = network.backbone.get('img_size', 224)
    return size if isinstance(size, int) else size[-1]


def _run(module: nn.Module, side: int, count: int = 1) -> Sequence[Tensor]:
    module.eval()
    with torch.no_grad():
        return module(torch.zeros(count, 3, side, side))


def _width(level: object, network: Network) -> int:
    if network.head and network.head.get('in_channels'):
        return network.head['in_channels']
    level = level[-1] if isinstance(level, (list, tuple)) else level
    channels_last = level.ndim == 3 or (network.neck or {}).get('type') == 'mmmaskany.TokenPooling'
    return level.shape[-1] if channels_last else level.shape[1]


def _pooling(module: nn.Module, level: Tensor) -> dict | None:
    """Choose what pools the features of a network of timm: maps, maps with the channels last, or tokens.

    Distilled DeiTs return vectors, the mean of their two tokens: there is nothing left to pool.
    """
    if level.ndim == 2:
        return None
    if level.ndim == 4 and level.shape[1] >= level.shape[-1]:
        return dict(type='GlobalAveragePooling')
    tokens = [name for name, _ in module.named_parameters() if name.endswith(('cls_token', 'dist_token'))]
    return dict(type='mmmaskany.TokenPooling', extra_tokens=len(tokens) if level.ndim == 3 else 0)


def _pyramid(network: Network, side: int) -> tuple[nn.Module, list[Tensor]]:
    """Find the levels of strides 4 to 32 and take them alone."""
    backbone = network.backbone
    problem = ''
    tries = [(0, 1, 2, 3), *(tuple(range(count)) for count in (7, 8, 5, 9, 6, 4))]
    if backbone['type'] == 'mmpretrain.TIMMBackbone':
        tries = [None]
    best: tuple = ()
    for indices in tries:
        cfg = copy.deepcopy(backbone)
        if indices is not None:
            cfg['out_indices'] = indices
        try:
            levels = _run(MODELS.build(cfg), side)
        except Exception as error:  # whatever a host raises for indices that it does not have
            problem = problem or f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""}'
            continue
        if not all(isinstance(level, Tensor) and level.ndim == 4 for level in levels):
            problem = 'it returns no maps'
            continue
        last = {round(side / level.shape[-1]): place for place, level in enumerate(levels)}
        problem = f'its levels have the strides {sorted(last)}'
        given = tuple(range(len(levels))) if indices is None else indices
        chosen = tuple(given[last[stride]] for stride in STRIDES if stride in last)
        best = max(best, chosen, key=len)
        if len(best) == len(STRIDES):
            break
    if len(best) >= 3:
        backbone['out_indices'] = best
        module = MODELS.build(copy.deepcopy(backbone))
        return module, list(_run(module, side))
    raise ValueError(
        f'detection and segmentation need a network whose levels have strides 4 to 32, but {network.name} has not '
        f'({problem}): name another one, such as a ResNet, ConvNeXt, Swin or EfficientNet'
    )


def _download(model: str, url: str | None) -> Weights:
    """Take the weights that timm or the hub publish with a name."""
    if model.startswith('timm/'):
        import timm

        try:
            module = timm.create_model(model.removeprefix('timm/'), pretrained=True)
        except Exception as error:  # whatever a download may raise
            raise FileNotFoundError(f'the weights of {model} must be downloaded, but: {error}') from error
        return Weights(module.state_dict(), model, '', '', {}, None)
    if url is None:
        raise ValueError(f'--weights hub needs weights that are published, but {model} has none')
    try:
        file = torch.hub.get_dir()
        Path(file, 'checkpoints').mkdir(parents=True, exist_ok=True)
        target = Path(file, 'checkpoints', url.rpartition('/')[2])
        if not target.is_file():
            torch.hub.download_url_to_file(url, str(target))
    except OSError as error:
        raise FileNotFoundError(f'{url} must be downloaded, but: {error}') from error
    return read_weights(target)
