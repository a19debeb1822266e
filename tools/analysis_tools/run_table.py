# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Print one table of finished runs: what was tested, its size, how long it trained, how good it is.

    python tools/analysis_tools/run_table.py 'MaskAny=work_dirs/a' 'plain=work_dirs/b' --at-least MaskAny=97

A run is a work dir of tools/train.py, with the metrics that tools/test.py wrote there
(`--out WORK_DIR/test.json --out-item metrics`). Each metric that stands for a task has a row: two of them for a
detector that finds masks too. Nothing is taken from anywhere else: parameters are counted in the model that the run's
own config builds, the training time is the time of its steps in its own log.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.experiments.runs import METRICS
from mmmaskany.experiments.tables import markdown_table
from mmmaskany.user_errors import run

#: The task that a metric stands for, by its name in the test results.
TASKS = {
    'accuracy/top1': 'classification',
    'coco/bbox_mAP': 'detection',
    'coco/segm_mAP': 'instance segmentation',
    'mIoU': 'semantic segmentation',
}
COLUMNS = ('run', 'task', 'metric', 'value', 'parameters', 'training')


class Result(NamedTuple):
    """What one run gave in one task."""

    name: str
    task: str
    metric: str
    value: float
    parameters: int
    seconds: float


def read_run(name: str, folder: Path) -> list[Result]:
    """Read a finished run.

    Args:
        name (str): What to call it.
        folder (Path): Its work dir.

    Returns:
        list[Result]: Its rows of the table.

    Raises:
        FileNotFoundError: If the run was not trained, or not tested.
        KeyError: If no metric of the test is known.
    """
    tested = folder / 'test.json'
    logs = sorted(folder.glob('*/vis_data/scalars.json'))
    for what, there in (('trained: its log', logs), (f'tested: {tested}', tested.is_file())):
        if not there:
            raise FileNotFoundError(f'the run {name} in {folder} must have been {what} is missing')
    metrics = json.loads(tested.read_text())
    known = [metric for metric in TASKS if metric in metrics]
    if not known:
        raise KeyError(f'{tested} must hold one of {list(TASKS)}, but holds {sorted(metrics)}')
    cfg = Config.fromfile(logs[-1].with_name('config.py'))
    init_default_scope(cfg.default_scope)
    parameters = sum(parameter.numel() for parameter in MODELS.build(cfg.model).parameters())
    seconds = training_seconds(logs)
    return [
        Result(name, TASKS[metric], METRICS[metric][0], metrics[metric] * METRICS[metric][1], parameters, seconds)
        for metric in known
    ]


def training_seconds(logs: list[Path]) -> float:
    """Sum the time of all training steps over the starts of a run: mean step time times steps, record by record.

    Args:
        logs (list[Path]): Its scalars.json files.

    Returns:
        float: Seconds.
    """
    seconds = 0.0
    for log in logs:
        records = [json.loads(line) for line in log.read_text().splitlines() if line.strip()]
        steps = [record for record in records if 'lr' in record]
        # A resumed run begins in the middle; it logs at equal distances.
        before = 2 * steps[0]['step'] - steps[1]['step'] if len(steps) > 1 else 0
        for record in steps:
            seconds += record['time'] * (record['step'] - before)
            before = record['step']
    return seconds


def table(results: list[Result]) -> str:
    """Write the results as a Markdown table with aligned columns."""
    rows = [
        (
            result.name,
            result.task,
            result.metric,
            f'{result.value:.2f}',
            f'{result.parameters / 1e6:.3f} M',
            f'{result.seconds:.0f} s',
        )
        for result in results
    ]
    return markdown_table(COLUMNS, rows, words=range(3), aligned=True)


def named(text: str) -> tuple[str, str]:
    """Split ``NAME=VALUE``."""
    name, sign, value = text.partition('=')
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f'must be NAME=VALUE, but got {text!r}')
    return name, value


def main(argv: list[str] | None = None) -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', type=named, metavar='NAME=WORK_DIR', help='the runs, one row each')
    parser.add_argument(
        '--at-least',
        nargs='*',
        type=named,
        default=[],
        metavar='NAME=VALUE',
        help='exit 1 where a run is below this in any of its metrics',
    )
    parser.add_argument('--out', type=Path, help='write the table to this file too')
    args = parser.parse_args(argv)
    try:
        results = [result for name, folder in args.runs for result in read_run(name, Path(folder))]
    except (FileNotFoundError, KeyError) as error:
        print(f'error: {error.args[0]}', file=sys.stderr)
        return 2
    text = table(results)
    print(text, end='')
    if args.out:
        args.out.write_text(text)
    names = {result.name for result in results}
    status = 0
    for name, bound in args.at_least:
        if name not in names:
            parser.error(f'--at-least must name one of the runs {sorted(names)}, but got {name!r}')
        for result in results:
            if result.name == name and not result.value >= float(bound):
                wanted = f'{name} must reach at least {float(bound):g} in {result.metric}'
                print(f'error: {wanted}, but got {result.value:.2f}', file=sys.stderr)
                status = 1
    return status


if __name__ == '__main__':
    sys.exit(run(main))
