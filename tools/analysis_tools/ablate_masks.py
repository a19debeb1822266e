# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Train one config with every mask pattern at every masked share, and draw the metric over the share.

    python tools/analysis_tools/ablate_masks.py work_dirs/ablate \\
        configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py \\
        --patterns patch grid random --scales 0.25 0.5 0.75 --seeds 0 1 2 --jobs 2

Patterns of other packages go by their types, as `--patterns grid guest.StripePattern`.

Every run is `tools/train.py` in a folder of its own, `WORK_DIR/<pattern>_scale<scale>/seed<n>`; what it trains is
written to `WORK_DIR/configs`. A finished run is not repeated and an interrupted one is resumed, so the same command
can be stopped and started at will. All but the pattern stays the config's: how many images are masked, the fill, and
whether the reused view shows what is masked. The same network without masks is the baseline. In the end
`ablation.csv`, `ablation.png` and `ablation.svg` lie in WORK_DIR: Figure 4 of the paper (arXiv 2511.12480) for your
own network and data.

The metric is that of the last validation, never the best one.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.analysis.named_patterns import NAMED_PATTERNS, masked_share, pattern_cfg
from mmmaskany.engine.checks.config import OptionAction, read_config
from mmmaskany.experiments.runs import METRICS, Launch, Result, Run, report, train_all
from mmmaskany.experiments.tables import grouped, write_csv
from mmmaskany.experiments.variant_rules import keep_config, read_masking
from mmmaskany.models.algebra import build_pattern
from mmmaskany.user_errors import run
from mmmaskany.visualization import new_plot, save_figure
from mmmaskany.visualization.curves import draw_curve, draw_level

BASELINE = 'unmasked'


class Variant(NamedTuple):
    """One pattern at one masked share.

    Args:
        name (str): Name of the pattern.
        pattern (dict): Its config.
        masked (float): Share of a masked image that is masked, in (0, 1).
    """

    name: str
    pattern: dict
    masked: float

    def __str__(self) -> str:
        key = 'scale' if 'scale' in self.pattern else 'ratio'
        return f'{self.name}_{key}{self.pattern[key]:.4g}'


def check_share(cfg: Config) -> None:
    """Make sure that a config leaves the masked share as it is.

    Args:
        cfg (Config): The config.

    Raises:
        ValueError: If it changes the share on its way.
    """
    names = [getattr(hook['type'], '__name__', hook['type']) for hook in cfg.get('custom_hooks') or []]
    if any(name.endswith('MaskScheduleHook') for name in names):
        raise ValueError(
            f'{cfg.filename} must leave the masked share as it is, but has a MaskScheduleHook: take it out of '
            'custom_hooks'
        )


def masked_images(masking: dict) -> float:
    """Return the share of the images that a config masks.

    Args:
        masking (dict): Its masking.

    Returns:
        float: The sum of its mixture's probabilities; 1 where it has none.
    """
    return min(1.0, sum(masking['pattern'].get('probs', [1.0])))


def image_size(cfg: Config) -> tuple[int, int]:
    """Find the size of the training images.

    Args:
        cfg (Config): The config.

    Returns:
        tuple[int, int]: Height and width in pixels of the first one, behind the training pipeline.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    return tuple(DATASETS.build(cfg.train_dataloader.dataset)[0]['inputs'].shape[-2:])


def grid(
    patterns: Sequence[str], shares: Sequence[dict], size: tuple[int, int], cell: int | None = None
) -> list[Variant]:
    """List the variants.

    Args:
        patterns (Sequence[str]): Names of patterns, see :func:`mmmaskany.analysis.named_patterns.pattern_cfg`.
        shares (Sequence[dict]): ``dict(scale=...)`` or ``dict(ratio=...)`` each.
        size (tuple[int, int]): Height and width of the images in pixels.
        cell (int | None): Side of a cell in pixels, see :func:`~mmmaskany.analysis.named_patterns.pattern_cfg`.
            Defaults to None.

    Returns:
        list[Variant]: The variants; every pattern at every share.

    Raises:
        ValueError: If a pattern is not known, asks for scores, or would mask nothing or everything.
    """
    cfgs = [(name, pattern_cfg(name, min(size), cell, **share)) for share in shares for name in patterns]
    return [Variant(name, cfg, masked_share(build_pattern(cfg, ('images',)), *size)) for name, cfg in cfgs]


def write_config(cfg: Config, path: Path, pattern: dict | None, prob: float) -> Path:
    """Write the config of a variant.

    Args:
        cfg (Config): The config that is varied; it is not changed.
        path (Path): Where to.
        pattern (dict | None): The pattern; None masks nothing.
        prob (float): Share of the images that are masked.

    Returns:
        Path: The same path.

    Raises:
        ValueError: If there is another config already, whose runs these would be mixed with.
    """
    variant = Config(cfg.to_dict())
    if pattern is None:
        variant.model.backbone.masking = None
    else:
        mixed = dict(type='mmmaskany.MixturePattern', patterns=[pattern], probs=[prob])
        variant.model.backbone.masking.pattern = pattern if prob == 1 else mixed
    return keep_config(path, variant.pretty_text)


def rows_of(results: Sequence[Result], variants: Sequence[Variant], metric: str) -> list[dict]:
    """List what every run gave.

    Args:
        results (Sequence[Result]): The results.
        variants (Sequence[Variant]): The variants.
        metric (str): The metric.

    Returns:
        list[dict]: One row a run: ``pattern``, share of a masked image that is ``masked``, ``scale``, ``ratio`` and
        ``cell`` of the pattern where it has them, ``seed``, and the metric under its title.
    """
    title, factor = METRICS.get(metric, (metric, 1))
    by_name = {str(variant): variant for variant in variants} | {BASELINE: Variant(BASELINE, {}, 0.0)}
    rows = []
    for result in results:
        variant = by_name[result.variant]
        share = {key: variant.pattern.get(key, '') for key in ('scale', 'ratio', 'cell')}
        row = dict(pattern=variant.name, masked=round(variant.masked, 4), **share, seed=result.seed)
        rows.append({**row, title: round(result.metrics[metric] * factor, 4)})
    return rows


def draw(rows: Sequence[dict], title: str, out: Path) -> list[Path]:
    """Draw the metric of each pattern over the masked share, with its spread over the seeds, and the baseline.

    Args:
        rows (Sequence[dict]): As of :func:`rows_of`.
        title (str): What is said above the plot.
        out (Path): Where to, without suffix.

    Returns:
        list[Path]: The files.
    """
    metric = list(rows[0])[-1]
    figure, axes = new_plot('masked share of a masked image (%)', metric)
    patterns = grouped(rows, 'pattern')
    baseline = patterns.pop(BASELINE, [])
    for index, (name, own) in enumerate(patterns.items()):
        shares = grouped(own, 'masked')
        values = [[row[metric] for row in at_share] for at_share in shares.values()]
        draw_curve(axes, [100 * share for share in shares], values, name, index)
    if baseline:
        draw_level(axes, [row[metric] for row in baseline], BASELINE)
    axes.set_xlim(0, 100)
    axes.set_title(title, fontsize='small')
    axes.legend(fontsize='small')
    return save_figure(figure, out)


def main(argv: list[str] | None = None) -> int:
    """Train and draw; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='folder of all runs, of the table and the plot')
    parser.add_argument('config', type=Path, help='a config that masks in the model')
    parser.add_argument(
        '--patterns',
        nargs='+',
        default=['patch', 'grid', 'random'],
        help=f'of {", ".join(NAMED_PATTERNS)}, or the types of others',
    )
    shares = parser.add_mutually_exclusive_group()
    shares.add_argument('--ratios', type=float, nargs='+', help='masked shares (default: 0.1 0.25 0.5 0.75)')
    shares.add_argument('--scales', type=float, nargs='+', help='their roots instead: side of the reused view')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds of each (default: 0 1 2)')
    parser.add_argument('--prob', type=float, help="share of the images that are masked (default: the config's)")
    parser.add_argument('--cell', type=int, help="side of a cell in px (default: an eighth of the images' side)")
    parser.add_argument('--metric', default='accuracy/top1', help='of the validation (default: accuracy/top1)')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={}, help='changes to the config')
    Launch.add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        cfg = read_config(args.config, args.cfg_options)
        masking = read_masking(cfg)
        check_share(cfg)
        prob = masked_images(masking) if args.prob is None else args.prob
        if not 0 < prob <= 1:
            raise ValueError(f'--prob must be in (0, 1], but got {prob}')
        reuse = masking.get('reuse', True)
        ratios = [scale**2 for scale in args.scales] if args.scales else args.ratios or [0.1, 0.25, 0.5, 0.75]
        roots = args.scales or [math.sqrt(max(ratio, 0)) for ratio in ratios]
        if reuse == 'aligned' and any(root != 0.5 for root in roots):
            raise ValueError(
                f"reuse='aligned' of {args.config} needs a scale of 0.5, but got {roots}: take --scales 0.5, or "
                '--cfg-options model.backbone.masking.reuse=True'
            )
        own = [dict(scale=scale) for scale in roots] if reuse else [dict(ratio=ratio) for ratio in ratios]
        variants = grid(args.patterns, own, image_size(cfg), args.cell)
        folder = args.work_dir / 'configs'
        configs = {BASELINE: write_config(cfg, folder / f'{BASELINE}.py', None, prob)}
        configs |= {
            str(variant): write_config(cfg, folder / f'{variant}.py', variant.pattern, prob) for variant in variants
        }
        runs = [Run(name, config, seed) for seed in args.seeds for name, config in configs.items()]
        results, failures = train_all(runs, args.work_dir, [args.metric], Launch.from_args(args))
    except (ValueError, TypeError, KeyError, OSError) as error:
        print(f'error: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 2
    if results:
        rows = rows_of(results, variants, args.metric)
        write_csv(rows, args.work_dir / 'ablation.csv')
        seeds = f'seed{"s" * (len(args.seeds) > 1)} {", ".join(map(str, args.seeds))}'
        how = 'reused' if reuse else 'lost'
        title = f'{args.config.stem}\n{prob:.0%} of the training images masked, {how}; {seeds}'
        if len(args.seeds) > 1:
            title += '\nline: mean, points: each seed, band: one standard deviation'
        for file in draw(rows, title, args.work_dir / 'ablation'):
            print(f'wrote {file}')
    return report(results, failures, args.work_dir)


if __name__ == '__main__':
    sys.exit(run(main))
