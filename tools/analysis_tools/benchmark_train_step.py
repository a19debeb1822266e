# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure the training step of networks with two stems against that of the plain host, in one run.

A step is forward, cross entropy, backward and SGD on a batch that lies on the device. All networks take turns, one step
each, so that a slow moment of the machine hits all alike; a row is the median of its steps, and the ratio the median of
the ratios within one turn. Peak memory is what the step needs at most, parameters and optimiser state included: on a
GPU what torch allocated, on the CPU what the tensors that torch's profiler saw allocated added up to::

    python tools/analysis_tools/benchmark_train_step.py
    python tools/analysis_tools/benchmark_train_step.py --device cuda --amp --batch 256
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import nn

import mmmaskany  # noqa: F401 - makes the scope known

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


def backbones(depth: int) -> dict[str, dict]:
    """Return the networks to compare; the first is the plain host."""
    plain = dict(type='mmpretrain.ResNet', depth=depth)
    late = dict(type='mmmaskany.MaskAny', backbone=plain, masking=MASKING, fuse_at='neck')
    return {
        f'ResNet-{depth}': plain,
        f'MaskAny(ResNet-{depth})': dict(type='mmmaskany.MaskAny', backbone=plain, masking=MASKING),
        f'MaskAny(ResNet-{depth}), concat': dict(
            type='mmmaskany.MaskAny', backbone=plain, masking=MASKING, fusion='concat'
        ),
        f"MaskAny(ResNet-{depth}), fuse_at='neck'": late,
        f'MaskResNet-{depth}': dict(type='mmmaskany.MaskResNet', depth=depth, masking=MASKING),
    }


def classifier(backbone: dict, depth: int) -> nn.Module:
    channels = 2048 if depth >= 50 else 512
    neck = dict(type='mmpretrain.GlobalAveragePooling')
    if backbone.get('fuse_at') == 'neck':
        neck = dict(type='mmmaskany.MaskAnyNeck', in_channels=channels, neck=neck)
    head = dict(type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=channels)
    return MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=backbone, neck=neck, head=head))


class Step:
    """One network with its optimiser; a call is one training step.

    Args:
        model (nn.Module): The classifier.
        args (argparse.Namespace): Batch, size, device, amp and memory format.
    """

    def __init__(self, model: nn.Module, args: argparse.Namespace) -> None:
        self.args = args
        self.format = torch.channels_last if args.channels_last else torch.contiguous_format
        self.model = model.to(args.device, memory_format=self.format)
        self.model.train()
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        self.dtype = torch.float16 if args.device == 'cuda' else torch.bfloat16
        self.scaler = torch.amp.GradScaler(args.device, enabled=args.amp and args.device == 'cuda')

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        with torch.autocast(self.args.device, self.dtype, enabled=self.args.amp):
            loss = nn.functional.cross_entropy(self.model(images), labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def timed(self, *batch: torch.Tensor) -> float:
        """Return the milliseconds of one step."""
        if self.args.device == 'cuda':
            torch.cuda.synchronize()
        start = time.perf_counter()
        self(*batch)
        if self.args.device == 'cuda':
            torch.cuda.synchronize()
        return (time.perf_counter() - start) * 1e3

    def peak(self, *batch: torch.Tensor) -> float:
        """Return the peak memory of one step in MiB."""
        if self.args.device == 'cuda':
            torch.cuda.synchronize()
            # What the other networks hold is no part of it.
            own = {id(p): p for p in self.model.parameters()}.values()
            held = sum(p.numel() * p.element_size() * 2 for p in own)
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self(*batch)
            torch.cuda.synchronize()
            return (torch.cuda.max_memory_allocated() - before + held) / 2**20
        held = sum(p.numel() * p.element_size() * 2 for p in self.model.parameters())
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            self(*batch)
        total = peak = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == '[memory]':
                total += event.nbytes()
                peak = max(peak, total)
        return (peak + held) / 2**20


def measure(args: argparse.Namespace) -> list[dict]:
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    steps = {name: Step(classifier(cfg, args.depth), args) for name, cfg in backbones(args.depth).items()}
    format = torch.channels_last if args.channels_last else torch.contiguous_format
    images = torch.randn(args.batch, 3, args.size, args.size, device=args.device).to(memory_format=format)
    labels = torch.randint(1000, (args.batch,), device=args.device)
    for step in steps.values():
        for _ in range(args.warmup):
            step(images, labels)
    turns = [{name: step.timed(images, labels) for name, step in steps.items()} for _ in range(args.turns)]
    memory = {name: step.peak(images, labels) for name, step in steps.items()}
    plain = next(iter(steps))
    return [
        dict(
            network=name,
            parameters=sum(p.numel() for p in step.model.parameters()),
            ms=statistics.median(turn[name] for turn in turns),
            fastest=min(turn[name] for turn in turns),
            ratio=statistics.median(turn[name] / turn[plain] for turn in turns),
            ratios=[min(turn[name] / turn[plain] for turn in turns), max(turn[name] / turn[plain] for turn in turns)],
            memory=memory[name],
            memory_ratio=memory[name] / memory[plain],
        )
        for name, step in steps.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--depth', type=int, default=50, choices=[18, 34, 50, 101], help='depth of the ResNets')
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--batch', type=int, default=16, help='images per step')
    parser.add_argument('--size', type=int, default=224, help='side of the images in px')
    parser.add_argument('--turns', type=int, default=9, help='steps of each network that count')
    parser.add_argument('--warmup', type=int, default=2, help='steps of each network that do not')
    parser.add_argument('--amp', action='store_true', help='autocast: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument('--channels-last', action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument('--out', type=Path, help='also write the figures to this JSON file')
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda needs a GPU that torch can use')
    rows = measure(args)
    device = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    print(
        f'{args.batch} x 3 x {args.size} x {args.size}, {device}, torch {torch.__version__}, '
        f'amp={args.amp}, channels_last={args.channels_last}\n'
    )
    print('| network | parameters | ms / step | fastest | time ratio (least .. most) | peak MiB | memory ratio |')
    print('|---|---|---|---|---|---|---|')
    for row in rows:
        low, high = row['ratios']
        print(
            f'| {row["network"]} | {row["parameters"]:,} | {row["ms"]:.0f} | {row["fastest"]:.0f} '
            f'| {row["ratio"]:.3f} ({low:.3f} .. {high:.3f}) | {row["memory"]:.0f} | {row["memory_ratio"]:.3f} |'
        )
    if args.out:
        args.out.write_text(json.dumps(dict(device=device, settings=vars(args) | {'out': None}, rows=rows), indent=2))


if __name__ == '__main__':
    main()
