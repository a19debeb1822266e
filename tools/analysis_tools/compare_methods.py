# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Train several configs with several seeds and write one table and one plot: metrics with spread, and cost, of each.

Every run is `tools/train.py CONFIG` in a folder of its own, `WORK_DIR/<config>/seed<n>`. A finished run is not
repeated and an interrupted one is resumed, so the same command can be stopped and started at will. The table is
`WORK_DIR/table.md`, every run a row of `results.csv`, the plot of each metric a PNG and an SVG beside them::

    python tools/analysis_tools/compare_methods.py work_dirs/compare --seeds 0 1 2 --jobs 2 \\
        --configs configs/maskany/resnet18_x.py configs/maskany/maskany_resnet18_x.py

The first config is the baseline that the others are compared with. The metrics are those of the last validation, never
the best ones: choosing an epoch by the test data would flatter every arm.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.experiments.rows import write_csv
from mmmaskany.experiments.runs import Launch, Run, plot, report, train_all
from mmmaskany.user_errors import run
from mmmaskany.visualization import save_figure


def main(argv: list[str] | None = None) -> int:
    """Train and print the table; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('work_dir', type=Path, help='folder of all runs and of the table')
    parser.add_argument('--configs', type=Path, nargs='+', required=True, help='the arms; the first is the baseline')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds of each arm')
    parser.add_argument('--metric', nargs='+', default=['accuracy/top1'], help='metrics of the validation')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='overrides for every run, as in tools/train.py')
    Launch.add_arguments(parser)
    args = parser.parse_args(argv)
    runs = [Run(config.stem, config, seed, args.cfg_options) for seed in args.seeds for config in args.configs]
    try:
        results, failures = train_all(runs, args.work_dir, args.metric, Launch.from_args(args))
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    if results:
        write_csv([dict(run=r.arm, seed=r.seed, **r.metrics) for r in results], args.work_dir / 'results.csv')
        for metric in args.metric:
            save_figure(plot(runs, results, metric), args.work_dir / metric.replace('/', '-'))
    return report(results, failures, args.work_dir)


if __name__ == '__main__':
    sys.exit(run(main))
