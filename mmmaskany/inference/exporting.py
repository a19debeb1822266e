# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Export a trained network: as ONNX, or as the plain network that it is without its second stem.

--plain merges both stems where they are linear (ViT, Swin and ConvNeXt with fusion='add' or 'concat'), and writes a
checkpoint that the plain network loads, and its config. --format onnx writes the network, or with --plain the merged
one: RGB images of 0 .. 255 in, scores of the classes or label maps out.

    mmmaskany export work_dirs/quickstart/MaskAny --format onnx --out digits.onnx
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from rich.console import Console
from torch import Tensor, nn

from mmmaskany.checkpoints.atomic import atomic_write, serialise
from mmmaskany.checkpoints.normalisation import swaps_channels
from mmmaskany.checkpoints.protection import read_checkpoint

from .samples import image_size
from .trained import FoundRun, Trained, find_run, load_trained, quietly

#: Largest difference that a merged network and a file of ONNX may have, of what is at most about 1.
TOLERANCE = 1e-4
#: What of a checkpoint's ``meta`` goes along.
_META = ('dataset_meta', 'epoch', 'iter')
#: Hooks that look for a second stem or for masking.
_HOOKS = ('MaskScheduleHook', 'MaskVisualizationHook')


class ExportWarning(UserWarning):
    """Something about an exported file that its user should know."""


def export(
    folder: str | os.PathLike | FoundRun,
    format: str | None = None,
    plain: bool = False,
    out: str | os.PathLike | None = None,
    size: tuple[int, int] | None = None,
    names: str = 'host',
) -> list[Path]:
    """Export a trained network.

    Args:
        folder (str | os.PathLike | FoundRun): What a training wrote, see :func:`find_run`.
        format (str | None): 'onnx', or None for a checkpoint. Defaults to None.
        plain (bool): Whether to merge both stems, see :func:`mmmaskany.merge_stems`. Defaults to False.
        out (str | os.PathLike | None): The file. None is ``plain.pth`` or ``model.onnx`` beside the checkpoint.
            Defaults to None.
        size (tuple[int, int] | None): Height and width of the images that the ONNX file takes. None is that of the
            config's test data. Defaults to None.
        names (str): Whose names a plain checkpoint has: 'host', or 'timm' where the host is mmpretrain's
            TIMMBackbone. Defaults to 'host'.

    Returns:
        list[Path]: The files that were written.

    Raises:
        FileNotFoundError: If there is no such training.
        ValueError: If there is nothing to do, the stems cannot be merged, or there is no ONNX of such a network.
        ModuleNotFoundError: If the package onnx is missing.
    """
    if format not in (None, 'onnx'):
        raise ValueError(f"format must be 'onnx' or None, but got {format!r}")
    if format is None and not plain:
        raise ValueError('nothing to export: give --plain, --format onnx, or both')
    if names not in ('host', 'timm') or (names == 'timm' and format is not None):
        raise ValueError(f"names must be 'host', or 'timm' for a plain checkpoint, but got {names!r}")
    if size is not None and format is None:
        raise ValueError('--shape is that of the images of an ONNX file: a checkpoint takes any; give --format onnx')
    run = folder if isinstance(folder, FoundRun) else find_run(folder)
    trained = load_trained(run, 'cpu')
    if plain:
        trained = merge_trained(trained)
    if format == 'onnx':
        return [write_onnx(trained, Path(out or run.folder / 'model.onnx'), size)]
    out = Path(out or run.folder / 'plain.pth')
    meta = read_checkpoint(run.checkpoint).get('meta') or {}
    write_plain(trained, out, {key: meta[key] for key in _META if key in meta}, names)
    return [out, _write_config(trained.cfg, out)] if names == 'host' else [out]


# ---------------------------------------------------------------------- the plain network


def merge_trained(trained: Trained) -> Trained:
    """Merge both stems of a network.

    Args:
        trained (Trained): The network, with its config. Left as it is.

    Returns:
        Trained: The plain network, as its library builds it, with its config.

    Raises:
        ValueError: If the stems cannot be merged.
    """
    from mmmaskany.models.backbones import merge_stems

    merged = merge_stems(trained.model)
    cfg = plain_config(trained.cfg)
    model = MODELS.build(copy.deepcopy(cfg.model))
    model.load_state_dict(merged.state_dict())
    model.eval()
    # Equal where the patches divide the image, see merge_stems.
    steps = getattr(trained.model.backbone.dual_stem.visible, 'stride', (1, 1))
    steps = steps if isinstance(steps, tuple) else (steps, steps)
    size = [math.ceil(side / step) * step for side, step in zip(image_size(trained.cfg), steps, strict=True)]
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 4 - 2
    with torch.no_grad():
        pairs = zip(_features(trained.model, image), _features(model, image), strict=True)
        difference = max(((a - b).abs().max() / a.abs().max().clamp(min=1)).item() for a, b in pairs)
    if not difference <= TOLERANCE:
        raise RuntimeError(f'the plain network must return what both stems did, but differs by {difference:.1e}')
    return trained._replace(model=model, cfg=cfg)


def _features(model: nn.Module, image: Tensor) -> list[Tensor]:
    def flat(outputs: object) -> list[Tensor]:
        return [outputs] if isinstance(outputs, Tensor) else [tensor for part in outputs for tensor in flat(part)]

    return flat(model.backbone(image))


def plain_config(cfg: Config) -> Config:
    """Write the config of the plain network: what was around its backbone is taken away.

    Args:
        cfg (Config): The config. Left as it is.

    Returns:
        Config: The plain one, without where the training started from.
    """
    cfg = copy.deepcopy(cfg)
    cfg.model = _plain(cfg.model)
    cfg.update(load_from=None, resume=False)
    if cfg.get('custom_hooks'):
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if not str(hook.get('type')).endswith(_HOOKS)]
    return cfg


def _plain(node: object) -> object:
    if isinstance(node, list | tuple):
        return [_plain(child) for child in node]
    if not isinstance(node, dict):
        return node
    kind = str(node.get('type')).removeprefix('mmmaskany.')
    if kind == 'MaskAny':
        return ConfigDict({key: value for key, value in node['backbone'].items() if key != 'init_cfg'})
    if kind == 'MaskVisionTransformer':
        own = {key: value for key, value in node.items() if key not in ('fusion', 'masking', 'init_cfg')}
        return ConfigDict({'drop_rate': 0.15, **own, 'type': 'mmpretrain.VisionTransformer'})
    return ConfigDict({key: _plain(value) for key, value in node.items()})


def write_plain(trained: Trained, out: Path, meta: Mapping, names: str = 'host') -> None:
    """Write the weights of a plain network.

    Args:
        trained (Trained): The network.
        out (Path): The file.
        meta (Mapping): What goes along as ``meta``.
        names (str): 'host' or 'timm', see :func:`export`. Defaults to 'host'.

    Raises:
        ValueError: If timm has no names for it.
    """
    state = trained.model.state_dict()
    if names == 'timm':
        state = timm_names(trained)
    atomic_write(out, serialise(dict(meta=dict(meta), state_dict=state)))


def timm_names(trained: Trained) -> dict[str, Tensor]:
    """Return the weights of a network around mmpretrain's TIMMBackbone under the names that timm gives them.

    The classifier goes along where timm's own network then predicts the same. It need not: timm's ConvNeXt, for one,
    normalises after pooling, and mmpretrain's TIMMBackbone before. Then a warning says that it is left out.

    Args:
        trained (Trained): The plain network.

    Returns:
        dict[str, Tensor]: What ``timm.create_model(name, num_classes=...)`` loads.

    Raises:
        ValueError: If its backbone is none of timm.
    """
    model, backbone = trained.model, trained.model.backbone
    inner = getattr(backbone, 'timm_model', None)
    if inner is None:
        raise ValueError(f"names='timm' needs mmpretrain.TIMMBackbone, but the backbone is {type(backbone).__name__}")
    state = dict(inner.state_dict())
    name = (getattr(inner, 'pretrained_cfg', None) or {}).get('classifier')
    layer = getattr(getattr(model, 'head', None), 'fc', None)
    if not isinstance(layer, nn.Linear) or not isinstance(name, str):
        return state
    whole = state | {f'{name}.{key}': tensor for key, tensor in layer.state_dict().items()}
    if _timm_predicts(trained, whole, layer.out_features):
        return whole
    text = (
        f'the classifier is left out, for the network of timm does something else between it and the features: {name}'
    )
    warnings.warn(text, ExportWarning, stacklevel=2)
    return state


def _timm_predicts(trained: Trained, state: dict[str, Tensor], classes: int) -> bool:
    """Tell whether timm's network with these weights predicts what the trained one does."""
    import timm

    own = ('type', 'pretrained', 'checkpoint_path', 'features_only', 'in_channels', 'init_cfg', '_scope_')
    options = {key: value for key, value in trained.cfg.model.backbone.items() if key not in own}
    try:
        network = timm.create_model(options.pop('model_name'), num_classes=classes, **options).eval()
        network.load_state_dict(state)
    except (RuntimeError, TypeError):  # of other names or shapes
        return False
    height, width = image_size(trained.cfg)
    for factor in (2, 1):  # the larger has more than one pixel to pool, but not every network takes it
        image = torch.randn(1, 3, factor * height, factor * width, generator=torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                logits = trained.model(image, mode='tensor')
                logits = logits[0] if isinstance(logits, list | tuple) else logits
                return torch.allclose(network(image), logits, rtol=TOLERANCE, atol=TOLERANCE)
        except (AssertionError, RuntimeError):
            continue
    return False


def _write_config(cfg: Config, out: Path) -> Path:
    path = out.with_suffix('.py')
    cfg.dump(path)
    return path


# ---------------------------------------------------------------------- ONNX


class Deployed(nn.Module):
    """A network that takes images as they are and returns what is predicted.

    Args:
        trained (Trained): A classifier or segmentor.
        size (tuple[int, int]): Height and width of the images.

    Shape:
        - images: RGB, 0 .. 255, float32, ``(B, 3, H, W)``.
        - output: of a classifier the scores of the classes ``(B, classes)``, of a segmentor the label maps
          ``(B, H, W)``.

    Raises:
        ValueError: If the network is of another kind.
    """

    def __init__(self, trained: Trained, size: tuple[int, int]) -> None:
        super().__init__()
        model, library = trained.model, trained.cfg.default_scope
        if library == 'mmdet':
            raise ValueError(
                'there is no ONNX of a detector here, for what follows its heads (proposals, non-maximum suppression) '
                'is code of mmdet: --plain exports its weights, MMDeploy or `mmmaskany predict` runs it'
            )
        if library == 'mmpretrain' and not (hasattr(model, 'head') and hasattr(model, 'extract_feat')):
            raise ValueError(f'{type(model).__name__} must be a classifier to predict anything, but has no head')
        if library == 'mmseg' and not hasattr(model, 'encode_decode'):
            raise ValueError(f'{type(model).__name__} must be a segmentor with encode_decode, but is none')
        self.model, self.library, self.size = model, library, tuple(size)
        preprocessor = model.data_preprocessor
        # The pipelines read BGR, and the preprocessor turns it; here RGB comes in.
        self.flip = not swaps_channels(preprocessor)
        normalised = preprocessor._enable_normalize
        self.register_buffer('mean', preprocessor.mean.clone().view(1, -1, 1, 1) if normalised else torch.zeros(1))
        self.register_buffer('std', preprocessor.std.clone().view(1, -1, 1, 1) if normalised else torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        images = images.flip(1) if self.flip else images
        images = (images - self.mean) / self.std
        if self.library == 'mmseg':
            meta = dict(img_shape=self.size, ori_shape=self.size, pad_shape=self.size, padding_size=[0] * 4)
            logits = self.model.encode_decode(images, [meta])
            logits = F.interpolate(logits, self.size, mode='bilinear', align_corners=self.model.align_corners)
            return logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0].sigmoid() > 0.5).long()
        logits = self.model(images, mode='tensor')
        logits = logits[0] if isinstance(logits, list | tuple) else logits
        many = 'MultiLabel' in type(self.model.head).__name__
        return logits.sigmoid() if many else logits.softmax(-1)


def write_onnx(trained: Trained, out: Path, size: tuple[int, int] | None = None) -> Path:
    """Write a network as ONNX, any number of images at a time; checked by onnxruntime where that is installed.

    Args:
        trained (Trained): A classifier or segmentor.
        out (Path): The file.
        size (tuple[int, int] | None): Height and width of the images. Defaults to None, that of the test data.

    Returns:
        Path: The file.

    Raises:
        ModuleNotFoundError: If the package onnx is missing.
        ValueError: If there is no ONNX of such a network.
        RuntimeError: If the file computes something else.
    """
    try:
        import onnx
    except ImportError as error:
        raise ModuleNotFoundError('--format onnx needs the package onnx: pip install "mmmaskany[export]"') from error
    size = tuple(size or image_size(trained.cfg))
    if min(size) < 1:
        raise ValueError(f'the size of the images must be positive, but got {size[0]} x {size[1]}')
    network = Deployed(trained, size).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 3, *size), generator=generator).float()
    name = 'labels' if network.library == 'mmseg' else 'scores'
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        expected = network(images)
        torch.onnx.export(
            network,
            (images,),
            file,
            dynamo=False,
            opset_version=17,
            input_names=['images'],
            output_names=[name],
            dynamic_axes={'images': {0: 'batch'}, name: {0: 'batch'}},
        )
    content = file.getvalue()
    _check_onnx(content, images, expected)
    program = onnx.load_model_from_string(content)
    about = dict(images=f'RGB, 0 .. 255, float32, (batch, 3, {size[0]}, {size[1]})')
    if trained.classes is not None:
        about['classes'] = json.dumps(trained.classes, ensure_ascii=False)
    onnx.helper.set_model_props(program, about)
    atomic_write(out, program.SerializeToString())
    return out


def _check_onnx(content: bytes, images: Tensor, expected: Tensor) -> None:
    """Compare what the file computes, with one image more and less, with what PyTorch does."""
    try:
        import onnxruntime
    except ImportError:
        warnings.warn(
            'onnxruntime is not installed, so the file was not checked against PyTorch: pip install onnxruntime',
            ExportWarning,
            stacklevel=3,
        )
        return
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    for count in (len(images), 1):
        got = torch.from_numpy(session.run(None, {'images': images[:count].numpy()})[0])
        wanted = expected[:count]
        # Pixels on the border of two classes may fall to either.
        wrong = (got != wanted).float().mean().item() if got.dtype == torch.int64 else (got - wanted).abs().max().item()
        if not wrong <= (1e-2 if got.dtype == torch.int64 else TOLERANCE):
            raise RuntimeError(f'the ONNX file must compute what PyTorch does, but differs by {wrong:.1e}: not written')


# ---------------------------------------------------------------------- the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('dir', metavar='DIR', help='folder of a training, or one of its checkpoints')
    parser.add_argument('--plain', action='store_true', help='merge both stems: the plain network')
    parser.add_argument('--format', choices=['onnx'], help='write ONNX instead of a checkpoint')
    parser.add_argument('--out', metavar='FILE', help='default: plain.pth or model.onnx beside the checkpoint')
    parser.add_argument('--names', choices=['host', 'timm'], default='host', help='of a plain checkpoint')
    parser.add_argument(
        '--shape', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'), help='of the images of the ONNX file'
    )


def main(args: argparse.Namespace) -> int:
    """Export and return the exit code."""
    log = Console(stderr=True, highlight=False)
    warnings.simplefilter('ignore')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always', ExportWarning)
        run = find_run(args.dir)
        for note in run.notes:
            log.print(note, markup=False, soft_wrap=True)
        with quietly():
            files = export(run, args.format, args.plain, args.out, args.shape, args.names)
    for warning in caught:
        if issubclass(warning.category, ExportWarning):
            log.print(str(warning.message), markup=False, soft_wrap=True)
    for file in files:
        print(file)
    return 0
