# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure the training step of networks with two stems against that of the plain host, in one run.

A step is forward, cross entropy, backward and SGD on a batch that lies on the device. All networks take turns, one step
each (eight on a GPU, which then waits once), so that a slow moment of the machine hits all alike; a row is the median
of its steps, and the ratio the median of the ratios within one turn. Peak memory is what the step needs at most,
parameters and optimiser state included: on a GPU what torch allocated, on the CPU what the tensors that torch's
profiler saw added up to::

    python tools/analysis_tools/benchmark_train_step.py
    python tools/analysis_tools/benchmark_train_step.py --device cuda --amp --batch 256

With ``--families`` it measures, one family after the other, a network of each with MaskAny around it against the plain
one, both with the neck and the head of mmpretrain's own config; with names, only those::

    python tools/analysis_tools/benchmark_train_step.py --families --batch 4
    python tools/analysis_tools/benchmark_train_step.py --families Swin-T ConvNeXt-T --batch 8

With ``--orders`` it measures what ``mmmaskany.ChannelsLastHook`` gains::

    python tools/analysis_tools/benchmark_train_step.py --families EfficientNet-B0 --orders --batch 32 --size 112
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path

import torch
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.engine.hooks.channels_last_hook import UNSAFE, unsafe_on_cpu
from mmmaskany.experiments.timing import Work, take_turns, turns_table
from mmmaskany.user_errors import run

MASKING = dict(
    pattern=dict(
        type='mmmaskany.MixturePattern',
        patterns=[
            dict(type='mmmaskany.GridPattern', scale=0.5, cell=[4, 8, 16]),
            dict(type='mmmaskany.PatchPattern', scale=0.5),
            dict(type='mmmaskany.RandomPattern', scale=0.5, cell=[56, 28, 16]),
        ],
        probs=[0.1, 0.2, 0.1],
    )
)

#: A network of each family: mmpretrain's config of the model, and what is changed in its backbone.
FAMILIES = {
    'ResNet-50': ('resnet50', {}),
    'RegNetX-1.6GF': ('regnet/regnetx_1.6gf', {}),
    'RepVGG-A0': ('repvgg-A0_in1k', {}),
    'HRNet-W18': ('hrnet/hrnet-w18', {}),
    'MobileNetV2': ('mobilenet_v2_1x', {}),
    'MobileNetV3-L': ('mobilenet_v3/mobilenet_v3_large_imagenet', {}),
    'EfficientNet-B0': ('efficientnet_b0', {}),
    'EfficientNetV2-S': ('efficientnet_v2/efficientnetv2_s', {}),
    'ConvNeXt-T': ('convnext/convnext-tiny', {}),
    'ConvNeXtV2-T': ('convnext_v2/tiny', {}),
    'VAN-T': ('van/van_tiny', {}),
    'PoolFormer-S12': ('poolformer/poolformer_s12', {'frozen_stages': -1}),  # its default freezes the stem
    'Swin-T': ('swin_transformer/tiny_224', {}),
    'SwinV2-T': ('swin_transformer_v2/tiny_256', {'img_size': 224, 'window_size': 7}),
    'MViTv2-T': ('mvit/mvitv2-tiny', {}),
    'ViT-B/16': ('vit-base-p16', {}),
    'DeiT-III-S/16': ('deit3/deit3-small-p16-224', {}),
}


def backbones(depth: int) -> dict[str, dict]:
    """Return the ResNets to compare; the first is the plain host."""
    plain = dict(type='mmpretrain.ResNet', depth=depth)
    late = dict(type='mmmaskany.MaskAny', backbone=plain, masking=MASKING, fuse_at='levels')
    return {
        f'ResNet-{depth}': plain,
        f'MaskAny(ResNet-{depth})': dict(type='mmmaskany.MaskAny', backbone=plain, masking=MASKING),
        f'MaskAny(ResNet-{depth}), concat': dict(
            type='mmmaskany.MaskAny', backbone=plain, masking=MASKING, fusion='concat'
        ),
        f"MaskAny(ResNet-{depth}), fuse_at='levels'": late,
        f'MaskResNet-{depth}': dict(type='mmmaskany.MaskResNet', depth=depth, masking=MASKING),
    }


def classifier(backbone: dict, depth: int) -> nn.Module:
    channels = 2048 if depth >= 50 else 512
    neck = dict(type='mmpretrain.GlobalAveragePooling')
    head = dict(type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=channels)
    return MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=backbone, neck=neck, head=head))


def family(name: str) -> dict[str, dict]:
    """Return the model of a family as the host has it, and with MaskAny around its backbone."""
    file, changes = FAMILIES[name]
    plain = get_config(f'mmpretrain::_base_/models/{file}.py').model.to_dict()
    plain['backbone'] |= dict(changes, type=f'mmpretrain.{plain["backbone"]["type"]}')
    masked = copy.deepcopy(plain)
    masked['backbone'] = dict(type='mmmaskany.MaskAny', backbone=masked['backbone'], masking=MASKING)
    return {name: plain, f'MaskAny({name})': masked}


def training_step(model: nn.Module, images: Tensor, labels: Tensor, args: argparse.Namespace) -> Work:
    """Give a classifier an optimiser: forward, cross entropy, backward and SGD."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    dtype = torch.float16 if args.device == 'cuda' else torch.bfloat16
    forward = torch.compile(model) if args.compile else model
    scaler = torch.amp.GradScaler(args.device, enabled=args.amp and args.device == 'cuda')

    def step() -> None:
        with torch.autocast(args.device, dtype, enabled=args.amp):
            loss = nn.functional.cross_entropy(forward(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    return Work(model, step, optimizer)


def in_orders(group: dict[str, dict], args: argparse.Namespace) -> dict[str, tuple[nn.Module, torch.memory_format]]:
    """Build the models of a group, each with the order of memory for its weights and images."""
    models = {name: MODELS.build(cfg) if 'head' in cfg else classifier(cfg, args.depth) for name, cfg in group.items()}
    safe = args.device != 'cpu' or not any(unsafe_on_cpu(model) for model in models.values())
    if args.orders:
        name, model = next(iter(models.items()))
        if not safe:
            raise ValueError(f'--orders needs a GPU for {name}, which has {UNSAFE}')
        second = copy.deepcopy(model), torch.channels_last
        return {name: (model, torch.contiguous_format), f'{name}, channels_last': second}
    order = torch.channels_last if args.channels_last and safe else torch.contiguous_format
    return {name: (model, order) for name, model in models.items()}


def measure(args: argparse.Namespace) -> list[dict]:
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    images = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
    labels = torch.randint(1000, (args.batch,), device=args.device)
    groups = [family(name) for name in args.families] if args.families is not None else [backbones(args.depth)]
    rows = []
    for group in groups:
        works = {}
        for name, (model, order) in in_orders(group, args).items():
            model.to(device=args.device, memory_format=order)
            works[name] = training_step(model, images.to(memory_format=order), labels, args)
        rows += take_turns(works, args.turns, args.warmup)
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--depth', type=int, default=50, choices=[18, 34, 50, 101], help='depth of the ResNets')
    parser.add_argument(
        '--families', nargs='*', metavar='FAMILY', help=f'these instead, without names all of {", ".join(FAMILIES)}'
    )
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--batch', type=int, default=16, help='images per step')
    parser.add_argument('--size', type=int, default=224, help='side of the images in px')
    parser.add_argument('--turns', type=int, default=9, help='steps of each network that count')
    parser.add_argument('--warmup', type=int, default=2, help='steps of each network that do not')
    parser.add_argument('--amp', action='store_true', help='autocast: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument('--compile', action='store_true', help='the whole model by torch.compile')
    parser.add_argument('--channels-last', action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        '--orders', action='store_true', help='the plain networks alone, in channels_last against contiguous'
    )
    parser.add_argument('--out', type=Path, help='also write the figures to this JSON file')
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda needs a GPU that torch can use')
    if args.families is not None:
        args.families = args.families or list(FAMILIES)
        for name in args.families:
            if name not in FAMILIES:
                parser.error(f'--families must be some of {list(FAMILIES)}, but got {name!r}')
    rows = measure(args)
    device = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    print(
        f'{args.batch} x 3 x {args.size} x {args.size}, {device}, torch {torch.__version__}, '
        f'amp={args.amp}, compile={args.compile}, '
        f'channels_last={"as named" if args.orders else args.channels_last}\n'
    )
    print(turns_table(rows, 'step of'), end='')
    if args.out:
        args.out.write_text(json.dumps(dict(device=device, settings=vars(args) | {'out': None}, rows=rows), indent=2))


if __name__ == '__main__':
    sys.exit(run(main))
