# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Count what a GPU would have to start for masking, and for a whole training step, without a GPU.

Small operations cost a GPU their launch, whatever they compute. Two things are counted:

- **operations** that eager code dispatches and that do something on the device: views and empty tensors are left out.
  Nothing is computed (tensors without data), so any size and batch will do. *Bytes* are those of their inputs and
  outputs;
- **kernels** that masking takes as one compiled graph (see ``compiled`` of :class:`mmmaskany.masking.Masking`): what
  Inductor's scheduler makes of it, counted after fusion and before any code is generated, with the one call that
  makes the random numbers. The scheduler is that of a GPU, too, which may fuse a little more or less.

The step is forward, loss, backward and SGD of a classifier, plain and with MaskAny around its backbone and the mixture
of three patterns, whose masks the graph makes::

    python tools/analysis_tools/benchmark_launches.py
    python tools/analysis_tools/benchmark_launches.py --no-step
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.experiments.tables import markdown_table
from mmmaskany.masking import (
    BlockPattern,
    ConstantFill,
    GridPattern,
    Masking,
    MixturePattern,
    NoisePattern,
    PatchPattern,
    RandomPattern,
)
from mmmaskany.masking.graphs import compile_graph
from mmmaskany.masking.random_numbers import Numbers
from mmmaskany.user_errors import run

#: Operations that start nothing on a device.
FREE = {
    '_unsafe_view',
    'detach',
    'empty',
    'empty_like',
    'empty_strided',
    'lift_fresh',
    'new_empty',
    'new_empty_strided',
}
HOSTS = {
    'ResNet-50': dict(type='mmpretrain.ResNet', depth=50),
    'Swin-T': dict(type='mmpretrain.SwinTransformer', arch='tiny'),
    'ConvNeXt-T': dict(type='mmpretrain.ConvNeXt', arch='tiny'),
    'ViT-B/16': dict(type='mmpretrain.VisionTransformer', arch='b', out_type='avg_featmap', with_cls_token=False),
    'MobileNetV2': dict(type='mmpretrain.MobileNetV2'),
}


class Counter(TorchDispatchMode):
    """Counts the operations that start something on a device, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        views = any(value.alias_info and not value.alias_info.is_write for value in func._schema.returns)
        if not views and func._schema.name.split('::')[-1] not in FREE:
            tensors = [
                value for value in torch.utils._pytree.tree_leaves((args, kwargs, out)) if isinstance(value, Tensor)
            ]
            self.operations += 1
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return out


class Counted(Exception):
    """Carries the number of kernels: it ends the compilation where everything is known."""


@contextlib.contextmanager
def counting_kernels() -> Iterator[None]:
    """Let Inductor stop after fusion, with :class:`Counted`."""

    def count(nodes: list) -> list:
        kernels = 0
        for node in nodes:
            names = [type(part).__name__ for part in (node, getattr(node, 'node', None))]
            if 'NopKernelSchedulerNode' in names or 'MultiOutput' in names:
                continue
            # A CPU's loops over several kernels at a time are several launches elsewhere.
            kernels += len(node.get_outer_nodes()) if hasattr(node, 'get_outer_nodes') else 1
        raise Counted(kernels)

    from torch._inductor import config

    # What was begun is kept for whoever looks for an error; here it is none.
    logger = logging.getLogger('torch._inductor.utils')
    level, before = logger.level, os.environ.get('TORCHINDUCTOR_CACHE_DIR')
    logger.setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.environ['TORCHINDUCTOR_CACHE_DIR'] = folder
        try:
            with config.patch(_post_fusion_custom_pass=count, force_disable_caches=True):
                yield
        finally:
            logger.setLevel(level)
            os.environ.pop('TORCHINDUCTOR_CACHE_DIR')
            if before is not None:
                os.environ['TORCHINDUCTOR_CACHE_DIR'] = before


def kernels(masking: Masking, images: Tensor, given: bool = False) -> int:
    """Return how many kernels a masking is, of which one makes the random numbers.

    Args:
        masking (Masking): The masking.
        images (Tensor): The images, ``(B, C, H, W)``.
        given (bool): Whether the draw is there already. Defaults to False.
    """
    size = len(images), *images.shape[-2:]
    values = torch.rand(size[0], masking.pattern.numbers(*size[1:]))
    draw = masking.pattern.draw(*size, Numbers(values), images.device)  # keeps its tables

    def function(images: Tensor, *inputs: Tensor) -> list[Tensor]:
        if given:
            return [
                *masking._views(images, type(draw)(**dict(zip(draw.tensors(), inputs, strict=True)), base=draw.base))
            ]
        own = masking.pattern.draw(*size, Numbers(inputs[0]), images.device)
        return [*masking._views(images, own), *own.tensors().values()]

    inputs = [images, *draw.tensors().values()] if given else [images, values]
    try:
        with counting_kernels():
            compile_graph(function, inputs)
    except Exception as error:
        for cause in (error, error.__cause__, error.__context__, getattr(error, 'inner_exception', None)):
            if isinstance(cause, Counted):
                return cause.args[0] + (not given)
        raise
    raise RuntimeError('the graph was compiled without a schedule to count')


def operations(function: Callable[[], object]) -> tuple[int, int]:
    """Return how many operations a function dispatches, and the bytes that they touch."""
    with Counter() as counter:
        function()
    return counter.operations, counter.bytes


def maskings(base: int = 4) -> dict[str, Masking]:
    """Return what is counted: every pattern, the recipe of ImageNet's configs and mixtures."""
    sizes = [base, 2 * base, 4 * base]
    patch, grid = PatchPattern(scale=0.5, base=base), GridPattern(scale=0.5, cell=sizes, base=base)
    random, block = (
        RandomPattern(scale=0.5, cell=4 * base, base=base),
        BlockPattern(scale=0.5, cell=4 * base, base=base),
    )
    noise = NoisePattern(scale=0.5, cell=4 * base, base=base)
    several = RandomPattern(scale=0.5, cell=sizes, base=base)
    patterns = {
        'patch': patch,
        'grid, three sizes': grid,
        'random': random,
        'random, three sizes': several,
        'block': block,
        'noise': noise,
        'grid in 0.4 of the images': MixturePattern([GridPattern(scale=0.5, cell=8, base=base)], [0.4]),
        'mixture of three': MixturePattern([patch, grid, several], [0.2] * 3),
        'mixture of five': MixturePattern([patch, grid, several, block, noise], [0.1] * 5),
    }
    # As the configs have it: black, in the units of normalised images.
    return {name: Masking(pattern, ConstantFill((-2.12, -2.04, -1.8))) for name, pattern in patterns.items()}


def masking_rows(batch: int, side: int) -> list[list]:
    rows = []
    for name, masking in maskings().items():
        images = torch.zeros(batch, 3, side, side)
        nowhere, nothing = copy.deepcopy(masking).to('meta'), images.to('meta')
        nowhere(nothing)  # makes its tables
        eager, touched = operations(functools.partial(nowhere, nothing))
        rows.append(
            [
                name,
                eager,
                kernels(masking, images),
                kernels(masking, images, given=True),
                touched / (images.numel() * 4),
            ]
        )
    return rows


def step(backbone: dict, batch: int, side: int) -> tuple[int, int]:
    """Count a training step of a classifier."""
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS

    init_default_scope('mmpretrain')
    model = MODELS.build(backbone).to('meta')
    model.train()  # a new module is; some hosts freeze parts in it
    images = torch.zeros(batch, 3, side, side, device='meta')
    head = torch.nn.Linear(model(images)[-1].shape[1], 1000, device='meta')
    labels = torch.zeros(batch, dtype=torch.long, device='meta')
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.1, momentum=0.9, foreach=True)

    def train() -> None:
        features = model(images)[-1]
        features = features.mean((2, 3)) if features.dim() == 4 else features
        torch.nn.functional.cross_entropy(head(features), labels).backward()
        optimizer.step()

    train()  # makes the momenta
    optimizer.zero_grad()
    return operations(train)


def step_rows(batch: int, side: int) -> list[list]:
    import mmmaskany.models  # noqa: F401 (registers)

    mixture = [dict(type=f'mmmaskany.{kind}Pattern', scale=0.5) for kind in ('Patch', 'Grid', 'Random')]
    masking = dict(pattern=dict(type='mmmaskany.MixturePattern', patterns=mixture, probs=[0.2] * 3))
    rows = []
    for name, host in HOSTS.items():
        plain = step(host, batch, side)
        unmasked = step(dict(type='mmmaskany.MaskAny', backbone=host), batch, side)
        masked = step(dict(type='mmmaskany.MaskAny', backbone=host, masking=masking), batch, side)
        rows.append([name, plain[0], unmasked[0], masked[0], plain[1] / 2**30, unmasked[1] / plain[1]])
    return rows


def show(titles: list[str], rows: list[list]) -> None:
    cells = [[f'{value:.2f}' if isinstance(value, float) else str(value) for value in row] for row in rows]
    print(markdown_table(titles, cells), end='')


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--size', type=int, default=224, help='side of the images in pixels')
    parser.add_argument('--no-step', action='store_true', help='count masking alone')
    args = parser.parse_args(argv)
    print(f'torch {torch.__version__}; {args.batch} x 3 x {args.size} x {args.size}\n\nDraw, mask and recompose:\n')
    titles = [
        'pattern',
        'operations, eager',
        'kernels, compiled',
        'with a given draw',
        'bytes, eager, in batches of images',
    ]
    show(titles, masking_rows(args.batch, args.size))
    if not args.no_step:
        print('\nA training step, operation by operation:\n')
        titles = [
            'host',
            'plain',
            'MaskAny, unmasked',
            'MaskAny, masked, eager',
            'plain, GiB touched',
            'unmasked by plain',
        ]
        show(titles, step_rows(args.batch, args.size))


if __name__ == '__main__':
    run(main)
