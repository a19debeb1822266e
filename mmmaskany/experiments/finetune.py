# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Train a network, and MaskAny around it, on your own images, and compare them in a report.

DATA is a folder of class folders (below train, val, or neither), a CSV or text list, COCO json with its images, or
folders of images and of label maps. Killed and given again, the same command goes on.

    mmmaskany finetune flowers89 --weights efficientnet-lite0.pth --out work_dirs/flowers --size 112 --epochs 6
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from .data import TASKS, look
from .variants import VARIANTS, check_variants

if TYPE_CHECKING:
    from .plan import Plan
    from .runs import Result

#: What differs where a digest does.
_DIGESTS = dict(data_digest='images, labels or class names', network_digest='network', weights_digest='weights')
#: What is compared where nothing else is asked for.
DEFAULT_VARIANTS = ('plain', 'maskany')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command line.

    Args:
        parser (argparse.ArgumentParser): The parser.
    """
    parser.add_argument('data', metavar='DATA', help='your images')
    parser.add_argument('--weights', metavar='FILE', help="checkpoint to start from; 'hub': what is published")
    parser.add_argument('--model', metavar='NAME', help="of mmpretrain's hub, timm/NAME or a config")
    parser.add_argument(
        '--out',
        metavar='DIR',
        default='work_dirs/finetune',
        help='for configs, runs and the report (default: %(default)s)',
    )
    parser.add_argument(
        *('--variants', '--arms'),
        nargs='+',
        metavar='VARIANT',
        default=list(DEFAULT_VARIANTS),
        help=f'of {" ".join(VARIANTS)}',
    )
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='how many runs of each variant (default: 3)')
    parser.add_argument('--epochs', type=int, metavar='N', help='how long each run trains')
    parser.add_argument('--lr', type=float, metavar='RATE', help='learning rate of every run')
    parser.add_argument('--size', type=int, metavar='PX', help='side of the images')
    parser.add_argument('--task', choices=TASKS, help='where DATA fits several')
    parser.add_argument('--zero-label', choices=['background', 'unlabelled'], help='what 0 in label maps means')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--channels-last', action='store_true', help='a quicker order of memory for convolutions')
    parser.add_argument('--gpus', type=int, default=1, metavar='N', help='processes of a run')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='runs at a time')
    parser.add_argument('--configs-only', action='store_true', help='write the configs, for you to edit, and stop')
    parser.add_argument('--dry-run', action='store_true', help='say what would be done, and stop')


def main(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args (argparse.Namespace): The options.

    Returns:
        int: 0, or 1 where a run failed.

    Raises:
        FileNotFoundError: As :func:`finetune`.
        ValueError: As :func:`finetune`.
    """
    # Threads that spin while they wait slow what else runs: read when torch is imported.
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    plan, _, failures = _finetune(
        Path(args.data),
        args.weights,
        Path(args.out),
        model=args.model,
        variants=args.variants,
        seeds=args.seeds,
        epochs=args.epochs,
        lr=args.lr,
        size=args.size,
        task=args.task,
        zero_label=args.zero_label,
        amp=args.amp,
        channels_last=args.channels_last,
        gpus=args.gpus,
        jobs=args.jobs,
        configs_only=args.configs_only,
        dry_run=args.dry_run,
        console=Console(),
        own_process='torch' not in sys.modules,
    )
    return int(bool(failures))


def finetune(
    data: str | os.PathLike,
    weights: str | os.PathLike | None = None,
    out: str | os.PathLike = 'work_dirs/finetune',
    *,
    model: str | None = None,
    variants: Sequence[str] = DEFAULT_VARIANTS,
    seeds: int = 3,
    epochs: int | None = None,
    lr: float | None = None,
    size: int | None = None,
    task: str | None = None,
    zero_label: str | None = None,
    amp: bool = False,
    channels_last: bool = False,
    gpus: int = 1,
    jobs: int = 1,
    configs_only: bool = False,
    dry_run: bool = False,
) -> list[Result]:
    """Train a network, and MaskAny around it, on a person's images, and write a report.

    Args:
        data (str | os.PathLike): A folder, a list of images with their labels, or a COCO json.
        weights (str | os.PathLike | None): The checkpoint to start from, or 'hub' for what is published with the
            model. None starts from scratch. Defaults to None.
        out (str | os.PathLike): Where configs, runs and the report go. Defaults to 'work_dirs/finetune'.
        model (str | None): A name of mmpretrain's hub or ours, 'timm/NAME', or a classifier's config. None takes the
            network that the weights are of. Defaults to None.
        variants (Sequence[str]): Of :data:`VARIANTS`. Defaults to the plain network and MaskAny around it.
        seeds (int): How many runs of each, with the seeds from 0. Defaults to 3.
        epochs (int | None): How long each trains. None is the recipe's. Defaults to None.
        lr (float | None): Learning rate of AdamW, and a fifth of that of heads. None is the recipe's. Defaults to None.
        size (int | None): Side of the images in pixels. None is chosen by images and boxes. Defaults to None.
        task (str | None): 'classification', 'detection' or 'segmentation', where the data fits several. Defaults to
            None.
        zero_label (str | None): What 0 in label maps means, 'background' or 'unlabelled'. Defaults to None.
        amp (bool): Whether in mixed precision. Defaults to False.
        channels_last (bool): Whether the channels of a pixel lie side by side in memory, which is quicker for
            convolutions. Defaults to False.
        gpus (int): Processes of each run. Defaults to 1.
        jobs (int): Runs at a time. Defaults to 1.
        configs_only (bool): Whether to stop when the configs are written. What is edited in them is trained by the
            next call. Defaults to False.
        dry_run (bool): Whether to stop before anything is written. Defaults to False.

    Returns:
        list[Result]: What the runs gave that finished; why another did not is in the report.

    Raises:
        FileNotFoundError: If data or weights are missing.
        ValueError: If the data cannot be used, the weights are of another network, or an option is wrong.
        OSError: If ``out`` cannot be written or has no space, a dry run too.
    """
    options = dict(model=model, variants=variants, seeds=seeds, epochs=epochs, lr=lr, size=size, task=task)
    options.update(zero_label=zero_label, amp=amp, channels_last=channels_last, gpus=gpus, jobs=jobs)
    options.update(configs_only=configs_only, dry_run=dry_run)
    weights = None if weights is None else os.fspath(weights)
    return _finetune(Path(data), weights, Path(out), **options, console=Console())[1]


def _finetune(
    data: Path,
    weights: str | None,
    out: Path,
    *,
    model: str | None,
    variants: Sequence[str],
    seeds: int,
    epochs: int | None,
    lr: float | None,
    size: int | None,
    task: str | None,
    zero_label: str | None,
    amp: bool,
    channels_last: bool,
    gpus: int,
    jobs: int,
    configs_only: bool,
    dry_run: bool,
    console: Console,
    own_process: bool = False,
) -> tuple[Plan, list[Result], list[str]]:
    for name, value, least in (
        ('--seeds', seeds, 1),
        ('--epochs', epochs, 1),
        ('--size', size, 32),
        ('--gpus', gpus, 1),
        ('--jobs', jobs, 1),
    ):
        if value is not None and value < least:
            raise ValueError(f'{name} must be at least {least}, but got {value}')
    if size is not None and size > 4096:
        raise ValueError(f'--size must be at most 4096 px, but got {size}')
    if lr is not None and not 0 < lr < 1:
        raise ValueError(f'--lr must be above 0 and below 1, but got {lr:g}')
    check_variants(variants, None, epochs)  # before what takes time
    out = out.expanduser().resolve()
    if out.exists() and not out.is_dir():
        raise ValueError(f'--out must be a folder, but {out} is a file')
    if weights not in (None, 'hub') and not Path(weights).expanduser().exists():
        raise FileNotFoundError(f'--weights must be a file, but there is no {weights}')

    with console.status('looking at the images'):
        found = look(data, task, zero_label, out)
    variants = check_variants(variants, found.task)
    with contextlib.ExitStack() as stack:
        with console.status('importing PyTorch and OpenMMLab'):
            _import_all(found.task, model, weights)
        import torch

        from mmmaskany.engine.hooks.channels_last_hook import UNSAFE

        from .configs import check_space, find_odd, write
        from .networks import find_network
        from .plan import choose, default_size, describe, said_of_edits
        from .processes import Warm, start_process
        from .runs import Launch, Run, train_all

        # Not of a process that may have computed already, as that of a notebook.
        start = stack.enter_context(Warm()).start if own_process and not (configs_only or dry_run) else start_process
        if 0 < (count := torch.cuda.device_count()) < gpus:
            raise ValueError(
                f'--gpus must be at most the GPUs of this machine, {count}, but got {gpus}; with '
                'CUDA_VISIBLE_DEVICES=-1 the processes train on the CPU'
            )
        with console.status('building the network'):
            side = size or default_size(found)
            network = find_network(model, weights, found.task != 'classification', side)
        if size not in (None, network.size):
            raise ValueError(
                f'--size must be {network.size} for {network.name}, which was made for it and takes no images of '
                f'{size} px: give --size {network.size}, or leave it out'
            )
        if channels_last and not count and (unsafe := network.unsafe_channels_last):
            raise ValueError(
                f'--channels-last must be left out for {network.name} on a CPU, where PyTorch overwrites other memory '
                f'in the backward pass of {UNSAFE}: it has {len(unsafe)}, {unsafe[0]} the first'
            )
        chosen = network.size, epochs, lr, amp, channels_last, gpus, weights
        plan = choose(found, network, out, variants, list(range(seeds)), *chosen)
        found.odd += find_odd(plan)
        _tell(describe(plan), console)
        _same(plan)
        check_space(plan, make=not dry_run)
        if dry_run:
            return plan, [], []

        from .progress import watch

        _remember(plan)
        configs = write(plan)
        if plan.edited:
            _tell([('edited', said_of_edits(plan))], console)
        if configs_only:
            _tell([(name, os.path.relpath(path)) for name, path in configs.items()], console)
            _tell([('next', 'edit them, and give the command again without --configs-only')], console)
            return plan, [], []
        runs = [Run(name, configs[name], seed) for seed in plan.seeds for name in plan.variants]
        with watch(runs, out, plan.steps * plan.epochs, console):
            results, failures = train_all(runs, out, plan.metrics, Launch(gpus=gpus, jobs=jobs), start=start)

    from .report import short_failure, write_report

    with console.status('writing the report'), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the libraries and the profiler, none of which a reader can mend
        sentence = write_report(plan, runs, results, failures)
    console.print(f'\n{sentence}', highlight=False, markup=False, soft_wrap=True)
    for failure in failures:
        console.print(short_failure(failure), style='red', highlight=False, markup=False, soft_wrap=True)
    console.print(str(out / 'report.html'), highlight=False, markup=False, soft_wrap=True)
    return plan, results, failures


def _import_all(task: str, model: str | None, weights: str | None) -> None:
    """Import what the network, the trainings and the report need, once."""
    library = dict(classification='mmpretrain', detection='mmdet', segmentation='mmseg')[task]
    if importlib.util.find_spec(library) is None:
        raise ValueError(f'{task} needs {library}, which is not installed: `mmmaskany doctor` says what is missing')
    modules = ['mmmaskany.engine.launch', 'mmmaskany.models', 'mmmaskany.datasets', 'mmpretrain.models', library]
    if importlib.util.find_spec('timm') and (weights is not None or str(model).startswith('timm/')):
        modules.append('timm')
    for module in modules:
        importlib.import_module(module)
    importlib.import_module(f'{library}.utils').register_all_modules(init_default_scope=False)


def _tell(rows: Sequence[tuple[str, str]], console: Console) -> None:
    """Print what was found and chosen: wrapped for a person, whole lines for a log, from which paths are copied."""
    if not console.is_terminal:
        for name, text in rows:
            print(f'{name:9} {text}')
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style='bold', no_wrap=True)
    table.add_column(overflow='fold')
    for name, text in rows:
        table.add_row(name, text.replace('[', '\\['))
    console.print(table, highlight=False)


def _same(plan: Plan) -> None:
    """Make sure that what was begun in the folder is the same experiment.

    Raises:
        ValueError: If the folder holds another one, or what is not an experiment's and would be taken for its own.
    """
    path = plan.out / 'experiment.json'
    if not path.is_file():
        if there := [name for name in _written(plan) if (plan.out / name).exists()]:
            raise ValueError(
                f'--out must be a new folder or hold this experiment, but {plan.out} has no experiment.json and holds '
                f'{there[0]} already'
            )
        return
    try:
        before = dict(json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f'--out must be a new folder or hold this experiment, but {path} is of something else ({error})'
        ) from error
    now = json.loads(json.dumps(plan.identity()))
    # Of experiments that were begun before there were digests, or the option.
    before = dict(dict.fromkeys(now), **{key: now[key] for key in now if key.endswith('_digest')}) | before
    before['channels_last'] = bool(before['channels_last'])
    if differences := [
        f'other {_DIGESTS[key]}' if key in _DIGESTS else f'{key} {before[key]} there, {now[key]} now'
        for key in now
        if before[key] != now[key]
    ]:
        raise ValueError(
            f'--out must be a new folder or hold this experiment, but {plan.out} holds another one '
            f'({"; ".join(differences)}): take another folder, or delete it'
        )


def _written(plan: Plan) -> list[str]:
    """Return what the command writes into its folder."""
    results = ('report.html', 'report.md', 'results.csv', 'results.json', 'table.md', 'figures')
    return ['configs', 'data', 'weights.pth', *plan.variants, *results]


def _remember(plan: Plan) -> None:
    from mmmaskany.checkpoints.atomic import atomic_write

    atomic_write(plan.out / 'experiment.json', (json.dumps(plan.identity(), indent=2) + '\n').encode())
