# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure draw + mask + recompose of a batch against a plain copy of it, and as a share of a training step.

On the CPU, each call of :class:`mmmaskany.masking.Masking` on 64 x 3 x 224 x 224 (float32, both memory formats) takes
turns with an ``images.clone()`` of the same batch, so that a slow moment of the machine hits both; the first turns do
not count. Shown are median and minimum of either time, the median of the ratios within one turn with its quartiles,
and the ratio of the two minima. Read the first. A batch is larger than what the C library keeps when it is freed, so
a copy, like the visible image, mostly takes fresh memory from the system, whose first use costs several times the
copying itself; where the heap happens to have a gap of that size, the copy goes there and is that much faster. So the
time of a copy is bimodal, and its minimum tells of the rare moments. The step is the median of a few steps (forward,
cross entropy, backward, SGD) of mmpretrain's ResNet-50 on such a batch. OpenMP's threads sleep while they wait
(``OMP_WAIT_POLICY=passive``, unless it is set already): if they spin, every other process on the machine delays a
masking of many small operations many times over, and a single copy hardly.

On a GPU, ``--device cuda``, the draw is given: 256 x 3 x 224 x 224 in half precision, by CUDA events, with a cleared
cache before each call. Whether draw + mask + recompose ever waits for the device is then checked with torch's
synchronisation debug mode::

    python tools/analysis_tools/benchmark_masking.py
    python tools/analysis_tools/benchmark_masking.py --no-step --threads 1 --clock processor  # steadiest
    python tools/analysis_tools/benchmark_masking.py --no-step --no-reuse --fill mean  # draw + fill alone
    python tools/analysis_tools/benchmark_masking.py --device cuda
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault('OMP_WAIT_POLICY', 'passive')  # before torch is imported, see above

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.experiments.tables import markdown_table
from mmmaskany.masking import (
    BlockPattern,
    ConstantFill,
    Draw,
    GridPattern,
    ImageFill,
    Masking,
    MeanFill,
    MixturePattern,
    NoisePattern,
    PatchPattern,
    RandomPattern,
    TokenFill,
)
from mmmaskany.masking.draw import packed_channels
from mmmaskany.user_errors import run

FORMATS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}
FILLS = {
    'constant': ConstantFill,
    'black': lambda: ConstantFill((-2.1, -2.0, -1.8)),  # one number per channel, as the configs have
    'mean': MeanFill,
    'token': TokenFill,
    'image': ImageFill,
}
CLOCKS = {'wall': time.perf_counter, 'processor': time.process_time}
#: Targets: times of a clone, share of a training step, milliseconds on a GPU.
MOST_CLONES, MOST_SHARE, MOST_MS = 2.0, 0.01, 0.15


class DrawAndFill(Masking):
    """What a method without a reused view does: draw and fill."""

    def forward(self, images: Tensor, draw: Draw | None = None) -> Tensor:
        height, width = images.shape[-2:]
        draw = self.pattern.draw(len(images), height, width, device=images.device) if draw is None else draw
        return self.fill(images, draw.pixel_mask(height, width, packed_channels(images)))


def maskings(base: int, reuse: bool = True, fill: str = 'constant') -> dict[str, Masking]:
    """Return what is measured: every pattern, with several cell sizes where it draws one, and a mixture of four."""
    sizes = [base, 2 * base, 4 * base]
    patterns = {
        'patch': PatchPattern(scale=0.5, base=base),
        'grid': GridPattern(scale=0.5, cell=sizes, base=base),
        'random': RandomPattern(scale=0.5, cell=sizes, base=base),
        'block': BlockPattern(scale=0.5, cell=4 * base, base=base),
    }
    patterns['mixture'] = MixturePattern(list(patterns.values()), probs=[0.2] * 4)
    for color in ('red', 'green'):  # one Gaussian, as blue has, and two, as purple has
        patterns[f'{color} noise'] = NoisePattern(scale=0.5, cell=4 * base, color=color, base=base)
    kind = Masking if reuse else DrawAndFill
    return {name: kind(pattern, FILLS[fill](), reuse) for name, pattern in patterns.items()}


def batch(args: argparse.Namespace, memory_format: torch.memory_format) -> Tensor:
    dtype = torch.float16 if args.device == 'cuda' else torch.float32
    images = torch.randn(args.batch, 3, args.size, args.size, device=args.device, dtype=dtype)
    return images.to(memory_format=memory_format)


def time_in_turn(calls: dict[str, Callable], args: argparse.Namespace) -> dict[str, list[float]]:
    """Time each call once per turn; the times of one turn stand at one place of the lists, in milliseconds."""
    clock = CLOCKS[args.clock]
    times = {name: [] for name in calls}
    for turn in range(args.warmup + args.turns):
        for name, call in calls.items():
            start = clock()
            result = call()
            passed = clock() - start
            del result  # so that giving the memory back is no part of the next time
            if turn >= args.warmup:
                times[name].append(passed * 1e3)
    return times


def measure_cpu(args: argparse.Namespace) -> list[dict]:
    rows = []
    for layout, memory_format in FORMATS.items():
        images = batch(args, memory_format)
        for name, masking in maskings(args.base, not args.no_reuse, args.fill).items():
            times = time_in_turn({'clone': images.clone, 'masking': lambda m=masking, x=images: m(x)}, args)
            ratios = [mask / clone for clone, mask in zip(times['clone'], times['masking'], strict=True)]
            rows.append(
                dict(
                    pattern=name,
                    format=layout,
                    clone_ms=statistics.median(times['clone']),
                    clone_min=min(times['clone']),
                    ms=statistics.median(times['masking']),
                    min=min(times['masking']),
                    ratio=statistics.median(ratios),
                    quartiles=statistics.quantiles(ratios, n=4)[::2],
                    ratio_of_min=min(times['masking']) / min(times['clone']),
                )
            )
    return rows


def measure_step(args: argparse.Namespace) -> float:
    """Return the milliseconds of a training step of the plain ResNet-50."""
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS

    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='ResNet', depth=50),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=1000, in_channels=2048),
        )
    )
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, labels = batch(args, torch.contiguous_format), torch.randint(1000, (args.batch,))

    def step() -> None:
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    args = argparse.Namespace(**vars(args) | dict(warmup=1, turns=args.steps))
    return statistics.median(time_in_turn({'step': step}, args)['step'])


def time_cuda(call: Callable, args: argparse.Namespace) -> list[float]:
    cache = torch.empty(2**31, dtype=torch.int8, device='cuda')
    times = []
    for turn in range(args.warmup + args.turns):
        # Else the images of the last call still lie in the cache; and the CPU gets ahead meanwhile, as in training.
        cache.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        if turn >= args.warmup:
            times.append(start.elapsed_time(end))
    return times


def waits(masking: Masking, images: Tensor) -> str:
    """Return what torch says when drawing, masking and recomposing waits for the device; nothing if it does not."""
    masking(images)  # the layouts of a new image size are copied to the device once
    torch.cuda.set_sync_debug_mode('error')
    try:
        masking(images)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode('default')
    return ''


def measure_cuda(args: argparse.Namespace) -> list[dict]:
    rows = []
    for layout, memory_format in FORMATS.items():
        images = batch(args, memory_format)
        clone = time_cuda(images.clone, args)
        for name, masking in maskings(args.base, not args.no_reuse, args.fill).items():
            draw: Draw = masking.pattern.draw(args.batch, args.size, args.size, device=images.device)
            given = time_cuda(lambda m=masking, x=images, d=draw: m(x, d), args)
            rows.append(
                dict(
                    pattern=name,
                    format=layout,
                    clone_ms=statistics.median(clone),
                    ms=statistics.median(given),
                    min=min(given),
                    with_draw_ms=statistics.median(time_cuda(lambda m=masking, x=images: m(x), args)),
                    waits=waits(masking, images),
                )
            )
    return rows


def verdict(holds: bool) -> str:
    return 'holds' if holds else 'MISSED'


def report_cpu(rows: list[dict], step: float | None) -> str:
    lines = []
    for row in rows:
        low, high = row['quartiles']
        share = '' if step is None else f'{row["ms"] / step:.2%}'
        lines.append([row['pattern'], row['format'], f'{row["clone_ms"]:.1f} ({row["clone_min"]:.1f})'])
        lines[-1] += [f'{row["ms"]:.1f} ({row["min"]:.1f})', f'{row["ratio"]:.2f} ({low:.2f} .. {high:.2f})']
        lines[-1] += [f'{row["ratio_of_min"]:.2f}', share]
    head = ['pattern', 'format', 'clone, ms (min)', 'masking, ms (min)', 'ratio (quartiles)', 'of minima', 'of a step']
    most = max(row['ratio'] for row in rows)
    text = markdown_table(head, lines, words=(0, 1))
    text += f'\nat most {MOST_CLONES:g} times a clone: {verdict(most <= MOST_CLONES)} (most: {most:.2f})'
    if step is not None:
        share = max(row['ms'] for row in rows) / step
        text += f'\nunder {MOST_SHARE:.0%} of a step of {step:.0f} ms: {verdict(share < MOST_SHARE)} '
        text += f'(most: {share:.2%})'
    return text


def report_cuda(rows: list[dict]) -> str:
    lines = [
        [row['pattern'], row['format'], f'{row["clone_ms"]:.3f}', f'{row["ms"]:.3f} ({row["min"]:.3f})']
        + [f'{row["with_draw_ms"]:.3f}', row['waits'] or 'never']
        for row in rows
    ]
    head = ['pattern', 'format', 'clone, ms', 'mask + recompose, ms (min)', 'with the draw, ms', 'waits for the device']
    most = max(row['ms'] for row in rows)
    return (
        markdown_table(head, lines, words=(0, 1, 5))
        + f'\nmask + recompose at most {MOST_MS} ms: {verdict(most <= MOST_MS)} (most: {most:.3f})'
        + f'\nno waiting for the device: {verdict(not any(row["waits"] for row in rows))}'
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--batch', type=int, help='images in a batch; 64 on the CPU and 256 on a GPU if not given')
    parser.add_argument('--size', type=int, default=224, help='side of the images in px')
    parser.add_argument('--base', type=int, default=4, help='side of a base cell in px')
    parser.add_argument('--fill', default='constant', choices=tuple(FILLS), help='what stays in the masked cells')
    parser.add_argument('--no-reuse', action='store_true', help='draw and fill alone, no reused view')
    parser.add_argument('--turns', type=int, default=25, help='measurements that count')
    parser.add_argument('--warmup', type=int, default=5, help='measurements before, that do not')
    parser.add_argument('--threads', type=int, help='threads on the CPU')
    parser.add_argument('--clock', default='wall', choices=tuple(CLOCKS), help='what is measured on the CPU')
    parser.add_argument('--no-step', action='store_true', help='leave out the training step, which takes a minute')
    parser.add_argument('--steps', type=int, default=3, help='training steps that count')
    parser.add_argument('--out', type=Path, help='also write the figures there: JSON for .json, else Markdown')
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda needs a GPU that torch can use')
    if args.threads:
        torch.set_num_threads(args.threads)
    args.batch = args.batch or (256 if args.device == 'cuda' else 64)
    torch.manual_seed(0)

    step = None
    if args.device == 'cuda':
        device = torch.cuda.get_device_name()
        rows = measure_cuda(args)
        text = report_cuda(rows)
    else:
        device = (
            f'CPU, {torch.get_num_threads()} threads, {args.clock} time, load {os.getloadavg()[0]:.1f} at the start'
        )
        rows = measure_cpu(args)
        step = None if args.no_step else measure_step(args)
        text = report_cpu(rows, step)
    what = 'draw + fill' if args.no_reuse else 'draw + fill + recompose'
    size = f'{args.batch} x 3 x {args.size} x {args.size}'
    title = f'{what} ({args.fill}), {size}, base {args.base}, {device}, torch {torch.__version__}'
    text = f'{title}\n\n{text}'
    print(text)
    if args.out:
        if args.out.suffix == '.json':
            settings = vars(args) | dict(out=None)
            text = json.dumps(dict(title=title, settings=settings, step_ms=step, rows=rows), indent=2)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + '\n')


if __name__ == '__main__':
    sys.exit(run(main))
