# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure on digits what MixMask learns without labels.

    python tools/dataset_converters/digits.py
    python tools/benchmarks/digits_mixmask.py work_dirs/digits_mixmask                      # MoCo v2, one seed
    python tools/benchmarks/digits_mixmask.py work_dirs/digits_mixmask --twins \\
        --frameworks mocov2 simsiam --seeds 0 1 2

With every seed it pre-trains a narrow ResNet-18 by MixMask, with ``--twins`` by the framework alone as well, then
trains a linear classifier on the frozen features of each, and on those of random weights. A finished run is not
repeated and an interrupted one goes on, so the same command can be stopped and started at will. All is written into
one table. The script fails where, with any seed, MixMask's features are not better than those of random weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany import user_errors
from mmmaskany.experiments.runs import Launch, Result, Run, report, train_all

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'mixmask'
FRAMEWORKS = ('mocov2', 'simsiam')
PRETRAINING = '{}_resnet18-narrow_1xb64-coslr-15e_digits.py'
PROBE = 'resnet18-narrow_{}_1xb32-linear-coslr-10e_digits.py'
METRIC = 'accuracy/top1'
RANDOM = 'random weights'


def pretraining(frameworks: Sequence[str], seeds: Sequence[int], twins: bool) -> list[Run]:
    """List the pre-trainings.

    Args:
        frameworks (Sequence[str]): Some of :data:`FRAMEWORKS`.
        seeds (Sequence[int]): The seeds.
        twins (bool): Whether the frameworks are trained alone as well.

    Returns:
        list[Run]: Each with every seed.
    """
    variants = [variant for name in frameworks for variant in ([name] * twins + [f'mixmask-{name}'])]
    return [
        Run(variant, CONFIGS / PRETRAINING.format(variant), seed, group='pre-training', validates=False)
        for seed in seeds
        for variant in variants
    ]


def probes(pretrained: Sequence[Run], work_dir: Path) -> list[Run]:
    """List the linear probes, those of random weights first.

    Args:
        pretrained (Sequence[Run]): The pre-trainings, which are done.
        work_dir (Path): Where they were trained.

    Returns:
        list[Run]: One for each of them, and for each seed one of random weights.
    """
    seeds = dict.fromkeys(run.seed for run in pretrained)
    return [
        *(Run(RANDOM, CONFIGS / PROBE.format('scratch'), seed, group='linear probe') for seed in seeds),
        *(
            Run(
                run.variant,
                CONFIGS / PROBE.format(f'{run.variant}-pre'),
                run.seed,
                [f'model.backbone.init_cfg.checkpoint={run.checkpoint(work_dir)}'],
                group='linear probe',
            )
            for run in pretrained
        ),
    ]


def verdict(results: Sequence[Result], variant: str) -> tuple[str, bool]:
    """Say what the features of a variant are worth.

    Args:
        results (Sequence[Result]): All results.
        variant (str): 'mixmask-mocov2', say.

    Returns:
        tuple[str, bool]: A line, and whether they are better than those of random weights with every seed.
    """
    own, scratch, twin = (
        {run.seed: run.metrics[METRIC] for run in results if (run.group, run.variant) == ('linear probe', name)}
        for name in (variant, RANDOM, variant.removeprefix('mixmask-'))
    )
    gains = [own[seed] - scratch[seed] for seed in own]
    line = f'{variant}: {mean(gains):+.2f} points over random weights, least {min(gains):+.2f}'
    if twin:
        gaps = [own[seed] - twin[seed] for seed in own]
        line += f'; {mean(gaps):+.2f} against the framework alone, {min(gaps):+.2f} to {max(gaps):+.2f}'
    return f'{line} ({len(own)} seed{"s" * (len(own) > 1)})', min(gains) > 0


def main(argv: list[str] | None = None) -> int:
    """Train everything, write the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='folder of all runs and of the table')
    parser.add_argument(
        '--frameworks', nargs='+', choices=FRAMEWORKS, default=['mocov2'], help='what is mixed (default: mocov2)'
    )
    parser.add_argument('--twins', action='store_true', help='train the frameworks without mixing as well')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='seeds of the runs (default: 0)')
    Launch.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        launch = Launch.from_args(args)
        first = pretraining(dict.fromkeys(args.frameworks), dict.fromkeys(args.seeds), args.twins)
        results, failures = train_all(first, args.work_dir, [], launch, [METRIC])
        if not failures:
            runs = [*first, *probes(first, args.work_dir)]
            results, failures = train_all(runs, args.work_dir, [], launch, [METRIC])
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if status := report(results, failures, args.work_dir):
        return status
    for variant in dict.fromkeys(run.variant for run in first if run.variant.startswith('mixmask-')):
        line, worth = verdict(results, variant)
        print(line)
        status |= not worth
    return status


if __name__ == '__main__':
    sys.exit(user_errors.run(main))
