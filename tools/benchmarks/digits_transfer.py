# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure on scenes of digits what a checkpoint is worth to a detector and a segmentor.

    python tools/dataset_converters/digits.py
    python tools/benchmarks/digits_transfer.py work_dirs/digits_transfer --jobs 2

With every seed it trains the plain and the MaskAny classifier on single digits, then Mask R-CNN and Semantic FPN on
scenes: each network from its classifier's checkpoint and from scratch, 30 runs with three seeds, about an hour of
processor time. A finished run is not repeated and an interrupted one goes on, so the same command can be stopped and
started at will. All is written into one table; the last lines say whether MaskAny's checkpoint beats MaskAny from
scratch by more than the spread over the seeds, and how far it is from what the plain checkpoint gives the plain
network. The script fails where a checkpoint is worth less than the spread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.experiments.runs import METRICS, Launch, Result, Run, report, train_all
from mmmaskany.user_errors import run

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
#: Where a variant's config and its classifier's differ from those of the other variants.
NETWORKS = {'plain': '', 'MaskAny': 'maskany'}
CLASSIFIER = '{}resnet18-narrow_1xb32-coslr-8e_digits.py'
#: Config of a task, and what it measures.
TASKS = {
    'detection': ('mask-rcnn_{}r18-narrow{}_fpn_8e_digits.py', ('coco/bbox_mAP', 'coco/segm_mAP')),
    'segmentation': ('{}r18-narrow{}_sem-fpn_1xb8-300_digits-96x96.py', ('mIoU',)),
}


def pretraining(seeds: Sequence[int]) -> list[Run]:
    """List the classifiers.

    Args:
        seeds (Sequence[int]): The seeds.

    Returns:
        list[Run]: Both networks with every seed.
    """
    return [
        Run(variant, CONFIGS / 'maskany' / CLASSIFIER.format(f'{name}_' if name else ''), seed, group='classification')
        for seed in seeds
        for variant, name in NETWORKS.items()
    ]


def finetuning(seeds: Sequence[int], work_dir: Path) -> list[Run]:
    """List the detectors and segmentors, those of the plain checkpoint first.

    Args:
        seeds (Sequence[int]): The seeds.
        work_dir (Path): Where the classifiers were trained.

    Returns:
        list[Run]: Both networks, from their classifier and from scratch, with every seed.
    """
    runs = []
    for seed in seeds:
        for task, (config, _) in TASKS.items():
            for scratch in ('', '-scratch'):
                for classifier in pretraining([seed]):
                    name = NETWORKS[classifier.variant]
                    path = CONFIGS / task / config.format(f'{name}-' if name else '', scratch)
                    options = (
                        [] if scratch else [f'model.backbone.init_cfg.checkpoint={classifier.checkpoint(work_dir)}']
                    )
                    runs.append(Run(classifier.variant + scratch, path, seed, options, group=task))
    return runs


def verdict(results: Sequence[Result], task: str, metric: str) -> tuple[str, bool]:
    """Say what MaskAny's checkpoint is worth.

    Args:
        results (Sequence[Result]): All results.
        task (str): 'detection' or 'segmentation'.
        metric (str): One of its metrics.

    Returns:
        tuple[str, bool]: A line, and whether the checkpoint beats training from scratch by more than the spread.
    """
    title, factor = METRICS[metric]
    values = {
        variant: {
            run.seed: run.metrics[metric] * factor for run in results if (run.group, run.variant) == (task, variant)
        }
        for variant in ('MaskAny', 'MaskAny-scratch', 'plain')
    }
    own, scratch, plain = values.values()
    gain, gain_spread = gap(own, scratch)
    behind, behind_spread = gap(own, plain)
    # The larger of the two variants' standard deviations and that of their difference.
    spread = max(gain_spread, *(statistics.stdev(variant.values()) for variant in (own, scratch)))
    line = (
        f"{task}, {title}: MaskAny's checkpoint gives {gain:+.2f} over scratch (spread {spread:.2f}), and "
        f'{behind:+.2f} ± {behind_spread:.2f} against the plain network from the plain checkpoint'
    )
    return line, gain > spread


def gap(one: dict[int, float], other: dict[int, float]) -> tuple[float, float]:
    """Return mean and standard deviation of the differences, seed by seed."""
    gaps = [one[seed] - other[seed] for seed in one if seed in other]
    return statistics.mean(gaps), statistics.stdev(gaps)


def main(argv: list[str] | None = None) -> int:
    """Train everything, write the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='folder of all runs and of the table')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='at least two (default: 0 1 2)')
    Launch.add_arguments(parser)
    args = parser.parse_args(argv)
    if len(set(args.seeds)) < 2:
        parser.error(f'--seeds must be at least two different ones, to know the spread, but got {args.seeds}')
    launch, metrics = Launch.from_args(args), list(METRICS)

    first = pretraining(args.seeds)
    results, failures = train_all(first, args.work_dir, [], launch, metrics)
    if not failures:
        runs = [*first, *finetuning(args.seeds, args.work_dir)]
        results, failures = train_all(runs, args.work_dir, [], launch, metrics)
    if status := report(results, failures, args.work_dir):
        return status
    for task, (_, own) in TASKS.items():
        for metric in own:
            line, worth = verdict(results, task, metric)
            print(line)
            status |= not worth
    return status


if __name__ == '__main__':
    sys.exit(run(main))
