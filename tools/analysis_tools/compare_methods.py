# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Train several configs with several seeds and write one table: metric with spread, and cost, of each.

Every run is `tools/train.py CONFIG` in a folder of its own, `WORK_DIR/<config>/seed<n>`. A finished run is not
repeated and an interrupted one is resumed, so the same command can be stopped and started at will::

    python tools/analysis_tools/compare_methods.py work_dirs/compare --seeds 0 1 2 --jobs 2 \\
        --configs configs/maskany/resnet18_x.py configs/maskany/maskany_resnet18_x.py

The first config is the baseline that the others are compared with. The metric is that of the last validation, never
the best one: choosing an epoch by the test data would flatter every arm.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('work_dir', type=Path, help='folder of all runs and of the table')
    parser.add_argument('--configs', type=Path, nargs='+', required=True, help='the arms; the first is the baseline')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds of each arm')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time; the cores are divided among them')
    parser.add_argument('--metric', default='accuracy/top1', help='metric of the validation')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='overrides for every run, as in tools/train.py')
    args = parser.parse_args()
    missing = [str(config) for config in args.configs if not config.is_file()]
    if missing:
        parser.error(f'no such config: {", ".join(missing)}')
    stems = [config.stem for config in args.configs]
    if len(set(stems)) < len(stems):
        parser.error(f'the configs must have different names, but got {stems}')
    if args.jobs < 1:
        parser.error(f'--jobs must be at least 1, but got {args.jobs}')
    return args


def scalars(folder: Path) -> list[dict]:
    """Read what a run logged, over all its starts, in the order it was written."""
    records = []
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        records += [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return records


def result_of(folder: Path, metric: str) -> dict:
    """Return metric, step time and memory of a finished run.

    Raises:
        KeyError: If the run never logged the metric.
    """
    records = scalars(folder)
    values = [record[metric] for record in records if metric in record]
    if not values:
        known = sorted({key for record in records for key in record})
        raise KeyError(f'{folder} has no {metric!r} among what it logged: {known}')
    times = [record['time'] - record.get('data_time', 0) for record in records if 'lr' in record and 'time' in record]
    memory = [record['memory'] for record in records if 'memory' in record]
    return dict(
        metric=values[-1],
        step=statistics.median(times) if times else None,
        memory=max(memory) if memory else None,
    )


def train(config: Path, seed: int, args: argparse.Namespace) -> dict:
    """Train one arm with one seed, or return what it gave before."""
    folder = args.work_dir / config.stem / f'seed{seed}'
    done = folder / 'result.json'
    if done.is_file():
        return json.loads(done.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    options = [f'randomness.seed={seed}', *args.cfg_options]
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(folder), '--resume', 'auto']
    threads = str(max(1, (os.cpu_count() or 1) // args.jobs))
    log = folder / 'train.log'
    start = time.time()
    with log.open('a') as out:
        code = subprocess.run(
            [*command, '--cfg-options', *options],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': threads, 'MKL_NUM_THREADS': threads},
            check=False,
        ).returncode
    if code:
        tail = '\n'.join(log.read_text().splitlines()[-15:])
        raise RuntimeError(f'{config.stem} with seed {seed} failed with exit code {code}; the end of {log}:\n{tail}')
    result = dict(config=config.stem, seed=seed, options=options, **result_of(folder, args.metric))
    draft = done.with_suffix('.tmp')
    draft.write_text(json.dumps(result, indent=2) + '\n')
    draft.replace(done)
    print(f'{config.stem} seed {seed}: {result["metric"]:.2f} ({time.time() - start:.0f} s)', flush=True)
    return result


def table(results: dict[str, list[dict]], metric: str) -> str:
    """Write the table in Markdown; the spread is the standard deviation over the seeds."""
    baseline = next(iter(results.values()))
    lines = [
        f'| config | {metric} | against the first | seeds | step time against the first |',
        '|---|---|---|---|---|',
    ]
    steps = [run['step'] for run in baseline if run['step']]
    for name, runs in results.items():
        values = [run['metric'] for run in runs]
        spread = f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else ''
        # Seed by seed: both arms of a pair saw the same order of images.
        pairs = {run['seed']: run['metric'] for run in baseline}
        gaps = [run['metric'] - pairs[run['seed']] for run in runs if run['seed'] in pairs]
        gap = ''
        if runs is not baseline and gaps:
            gap = f'{statistics.mean(gaps):+.2f}'
            gap += f' ± {statistics.stdev(gaps):.2f}' if len(gaps) > 1 else ''
        own = [run['step'] for run in runs if run['step']]
        ratio = f'{statistics.median(own) / statistics.median(steps):.2f}' if own and steps else ''
        lines.append(f'| {name} | {statistics.mean(values):.2f}{spread} | {gap} | {len(values)} | {ratio} |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    args = parse_args()
    jobs = [(config, seed) for seed in args.seeds for config in args.configs]
    print(f'{len(jobs)} runs of {len(args.configs)} configs, {args.jobs} at a time, in {args.work_dir}', flush=True)
    results: dict[str, list[dict]] = {config.stem: [] for config in args.configs}
    failures = []
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [(config.stem, pool.submit(train, config, seed, args)) for config, seed in jobs]
        for stem, future in futures:
            try:
                results[stem].append(future.result())
            except (RuntimeError, KeyError) as error:
                failures.append(str(error))
    results = {stem: runs for stem, runs in results.items() if runs}
    if results:
        text = table(results, args.metric)
        print('\n' + text)
        (args.work_dir / 'table.md').write_text(text)
        (args.work_dir / 'results.json').write_text(json.dumps(results, indent=2) + '\n')
    if failures:
        sys.exit('\n\n'.join(failures))


if __name__ == '__main__':
    main()
