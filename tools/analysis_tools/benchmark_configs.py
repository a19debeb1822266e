# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure training step and inference of configs of one library against the first of them, in one run.

    python tools/analysis_tools/benchmark_configs.py \\
        configs/detection/faster-rcnn_r50_fpn_1x_coco.py configs/detection/faster-rcnn_maskany-r50_fpn_1x_coco.py
    python tools/analysis_tools/benchmark_configs.py --device cuda --batch 16 \\
        configs/segmentation/r50_upernet_8xb2-160k_ade20k-512x512.py \\
        configs/segmentation/maskany-r50_upernet_8xb2-160k_ade20k-512x512.py

A training step is the Runner's: data preprocessor, losses, backward and the config's own optimiser, whose learning rate
is 0 here, so that every step is the same work; what the config freezes is frozen. Inference is everything from the data
preprocessor to the predictions, which self-supervised models do not make. Images and labels are drawn, images of one
size. All configs take turns, one step each (eight on a GPU, which then waits once), so that a slow moment of the
machine hits all alike, and begin in turn; a time is the median of the turns, and the ratio the median of the ratios
within one turn. Peak memory has parameters and
optimiser in it: on a GPU what torch allocated, on the CPU what the tensors that torch's profiler saw added up to.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.engine import launch
from mmmaskany.engine.checks.config import OptionAction, read_config
from mmmaskany.experiments.timing import CLOCKS, Work, take_turns, turns_table
from mmmaskany.inference.samples import SIZES, draw_batch, is_self_supervised
from mmmaskany.user_errors import run


def build(config: Path, args: argparse.Namespace, source: nn.Module | None) -> tuple[Work, Work]:
    """Build a config's model and return its training step and its inference.

    Args:
        config (Path): The config.
        args (argparse.Namespace): The command line.
        source (nn.Module | None): A model whose weights it takes where they fit. MaskAny adopts them, so that both find
            the same objects: what is found is work, too.

    Returns:
        tuple[Work, Work]: Both.
    """
    cfg = read_config(config, args.cfg_options)
    scope = cfg.default_scope
    init_default_scope(scope)
    if 'data_preprocessor' in cfg:  # as the Runner does
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    cfg.model.backbone.init_cfg = None
    if cfg.model.get('data_preprocessor', {}).get('size'):
        cfg.model.data_preprocessor.size = args.size
    if args.amp:
        launch.use_amp(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')  # how every tensor is initialised is nothing to read here
    model.init_weights()
    logger.setLevel(level)
    model = revert_sync_batchnorm(model).to(args.device)
    if source:
        with contextlib.suppress(ValueError, RuntimeError):  # a backbone of another architecture keeps its own
            model.load_state_dict(source.state_dict(), strict=False)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for group in optim_wrapper.param_groups:
        group['lr'] = 0.0
    batch = draw_batch(model, scope, args.batch, args.size)

    def infer() -> None:
        with torch.no_grad(), torch.autocast(args.device, enabled=args.amp):
            model.test_step(batch)

    return Work(model, lambda: model.train_step(batch, optim_wrapper), optim_wrapper.optimizer), Work(model, infer)


def main(argv: list[str] | None = None) -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', type=Path, nargs='+', help='configs of one library; the first is the baseline')
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--batch', type=int, default=2, help='images per step (default: 2)')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the images in px (default: 800 1344 with mmdet, 512 512 with mmseg, 224 224 with mmpretrain)',
    )
    parser.add_argument('--turns', type=int, default=10, help='steps of each config that count (default: 10)')
    parser.add_argument('--warmup', type=int, default=2, help='steps of each config that do not (default: 2)')
    parser.add_argument('--clock', default='wall', choices=CLOCKS, help='time on the wall or of the processor')
    parser.add_argument('--amp', action='store_true', help='mixed precision, as in tools/train.py')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={}, help='changes to every config')
    parser.add_argument('--out', type=Path, help='also write the figures to this JSON file')
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda needs a GPU that torch can use')
    libraries = {read_config(config).default_scope for config in args.configs}
    if len(libraries) > 1:
        parser.error(f'the configs must be of one library, but got {sorted(libraries)}')
    names = [config.stem for config in args.configs]
    if len(set(names)) < len(names):
        parser.error(f'the configs must have different names, but got {names}')
    args.size = tuple(args.size or SIZES[libraries.pop()])
    works = {}
    for config in args.configs:
        first = next(iter(works.values()), None)
        works[config.stem] = build(config, args, first and first[0].model)
    device = torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    images = f'{args.batch} images of {args.size[0]} x {args.size[1]}'
    print(f'{images}, {device}, torch {torch.__version__}, amp={args.amp}, {args.clock} clock\n')
    figures = dict(device=device, settings={**vars(args), 'configs': list(works), 'out': None})
    kinds = ['training step', 'inference']
    if any(is_self_supervised(step.model) for step, _ in works.values()):
        kinds.remove('inference')
    for index, kind in enumerate(kinds):
        for work in works.values():
            work[index].model.train(kind == 'training step')
        rows = take_turns({name: work[index] for name, work in works.items()}, args.turns, args.warmup, args.clock)
        print(turns_table(rows, kind), flush=True)
        figures[kind] = rows
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2))


if __name__ == '__main__':
    sys.exit(run(main))
