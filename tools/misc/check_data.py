# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Look at the data of a config without a training, and print what is there, what is odd and what is wrong.

python tools/misc/check_data.py configs/maskany_r50_mask-rcnn_coco.py

The same checks as at the start of a training, for all splits. Exit status 1 where a training would be wrong.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
import mmmaskany  # noqa: F401
from mmmaskany import user_errors
from mmmaskany.engine.checks.classification import read_all_images
from mmmaskany.engine.checks.config import OptionAction, read_config
from mmmaskany.engine.checks.data import check_data
from mmmaskany.engine.checks.finding import Survey

#: How many classes are listed.
CLASSES = 30
_TITLES = dict(error='wrong', warning='odd', note='derived or left out')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--splits', nargs='+', choices=['train', 'val', 'test'], default=['train', 'val', 'test'])
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}, metavar='KEY=VALUE', help='change config values'
    )
    return parser.parse_args(argv)


def page(surveys: Sequence[Survey]) -> str:
    """Write down what was seen of some data sets.

    Args:
        surveys (Sequence[Survey]): What was seen.

    Returns:
        str: A page of Markdown.
    """
    lines = []
    for survey in surveys:
        lines += [f'## {survey.key}', '']
        lines += [f'{name}: {value}' for name, value in survey.facts.items()]
        if survey.counts:
            shown = list(survey.counts.items())[:CLASSES]
            more = f', and {len(survey.counts) - CLASSES} more classes' if len(survey.counts) > CLASSES else ''
            lines.append('of each class: ' + ', '.join(f'{name} {count}' for name, count in shown) + more)
        for level, title in _TITLES.items():
            lines += [f'- {title}: {finding.text}' for finding in survey.findings if finding.level == level]
        if not survey.facts and not survey.findings:
            lines.append('not looked at: a set of another kind, or not on this machine')
        lines.append('')
    counts = {level: sum(f.level == level for s in surveys for f in s.findings) for level in _TITLES}
    lines.append(', '.join(f'{count} {_TITLES[level]}' for level, count in counts.items()))
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> int:
    """Check the data; return 1 where a training would be wrong."""
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    splits = [split for split in args.splits if cfg.get(f'{split}_dataloader')]
    if not splits:
        wanted = ', '.join(f'{split}_dataloader' for split in args.splits)
        raise ValueError(f'{args.config} must have data to look at, one of {wanted}, but has none')
    if 'test' in splits and 'val' in splits and cfg.test_dataloader == cfg.val_dataloader:
        splits.remove('test')
    notes = read_all_images(cfg, splits)
    converters = Path(__file__).parents[1] / 'dataset_converters'
    surveys = check_data(cfg, splits, converters)
    print('\n'.join([*notes, page(surveys)]))
    return int(any(finding.level == 'error' for survey in surveys for finding in survey.findings))


if __name__ == '__main__':
    sys.exit(user_errors.run(main))
