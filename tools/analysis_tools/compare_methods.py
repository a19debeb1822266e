# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Train several configs, or the variants of one, with several seeds; write one table and one plot: metrics and cost.

Every run is `tools/train.py CONFIG` in a folder of its own, `WORK_DIR/<config>/seed<n>`. A finished run is not
repeated and an interrupted one is resumed, so the same command can be stopped and started at will. The table is
`WORK_DIR/table.md`, every run a row of `results.csv`, the plot of each metric a PNG and an SVG beside them::

    python tools/analysis_tools/compare_methods.py work_dirs/compare --seeds 0 1 2 --jobs 2 \\
        --configs configs/maskany/resnet18_x.py configs/maskany/maskany_resnet18_x.py

Of a config that masks in the model, a shipped one or your own, the variants need no files: they are written to
`WORK_DIR/configs`, by the rules that also make the shipped ones (mmmaskany/experiments/variant_rules.py)::

    python tools/analysis_tools/compare_methods.py work_dirs/compare configs/maskany/maskany_resnet18_x.py \\
        --variants plain unmasked noreuse maskany

The first config or variant is the baseline that the others are compared with. The metrics are those of the last
validation, never the best ones: choosing an epoch by the test data would flatter every variant.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.engine.checks.config import read_config
from mmmaskany.experiments.runs import METRIC_OF, Launch, Run, plot, report, train_all
from mmmaskany.experiments.tables import write_csv
from mmmaskany.experiments.variant_rules import RULES, keep_config, variant_text
from mmmaskany.user_errors import run
from mmmaskany.visualization import save_figure


def variants(config: Path, names: Sequence[str], folder: Path) -> dict[str, Path]:
    """Write variants of a config.

    Args:
        config (Path): The config, which masks in the model.
        names (Sequence[str]): Of :data:`mmmaskany.experiments.variant_rules.RULES`.
        folder (Path): Where to.

    Returns:
        dict[str, Path]: Their configs.

    Raises:
        KeyError: If there is no such variant.
        ValueError: If the config has none, or another config is there already.
    """
    texts = {name: variant_text(name, config, folder) for name in names}
    return {name: keep_config(folder / f'{name}.py', text) for name, text in texts.items()}


def which_metrics(configs: Sequence[Path], given: Sequence[str] | None) -> list[str]:
    """Return the metrics that all configs are compared by.

    Args:
        configs (Sequence[Path]): The configs.
        given (Sequence[str], optional): What was asked for. None is what counts for their scope.

    Returns:
        list[str]: The metrics.

    Raises:
        FileNotFoundError: If a config is missing.
        ValueError: If the configs are of different libraries, nothing counts for theirs, or a metric is of another.
    """
    scopes = {str(config): read_config(str(config)).get('default_scope') for config in configs}
    if len({*scopes.values()}) > 1:
        raise ValueError(f'configs must be of one library, but are of {scopes}')
    (scope,) = {*scopes.values()}
    own = METRIC_OF.get(scope)
    if own is None and given is None:
        raise ValueError(f'--metric must be given for configs of {scope or "no default_scope"}')
    measured = {own, 'mIoU'} if scope == 'mmdet' else {own}  # of panoptic segmentation, there
    of_others = {*METRIC_OF.values()} - measured if own else set()
    if wrong := [metric for metric in given or () if metric in of_others]:
        raise ValueError(f'--metric must be what configs of {scope} measure, such as {own}, but got {wrong}')
    return list(given or [own])


def main(argv: list[str] | None = None) -> int:
    """Train and print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='folder of all runs and of the table')
    parser.add_argument('config', type=Path, nargs='?', help='a config that masks in the model, for --variants')
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--variants', '--arms', nargs='+', help=f'variants of the config, of {" ".join(RULES)}')
    what.add_argument('--configs', type=Path, nargs='+', help='what is compared; the first is the baseline')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0, 1, 2], help='the seeds themselves, of each variant (default: 0 1 2)'
    )
    parser.add_argument(
        '--metric',
        nargs='+',
        help=f'metrics of the validation (default, by the scope of the configs: {", ".join(METRIC_OF.values())})',
    )
    parser.add_argument('--cfg-options', nargs='+', default=[], help='overrides for every run, as in tools/train.py')
    Launch.add_arguments(parser)
    args = parser.parse_args(argv)
    if (args.config is None) != (args.variants is None):
        parser.error('CONFIG and --variants must be given together, or --configs alone')
    try:
        configs = [(config.stem, config) for config in args.configs or []]
        if args.variants:
            configs = variants(args.config, args.variants, args.work_dir / 'configs').items()
        metrics = which_metrics([config for _, config in configs], args.metric)
        runs = [Run(variant, config, seed, args.cfg_options) for seed in args.seeds for variant, config in configs]
        results, failures = train_all(runs, args.work_dir, metrics, Launch.from_args(args))
    except (ValueError, KeyError, FileNotFoundError) as error:
        parser.error(str(error.args[0]))
    if results:
        write_csv([dict(run=r.variant, seed=r.seed, **r.metrics) for r in results], args.work_dir / 'results.csv')
        for metric in metrics:
            save_figure(plot(runs, results, metric), args.work_dir / metric.replace('/', '-'))
    return report(results, failures, args.work_dir)


if __name__ == '__main__':
    sys.exit(run(main))
