# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Compare the variants of a finished ``mmmaskany finetune``: is a difference more than chance, of seeds and of images?

    python tools/analysis_tools/paired_differences.py work_dirs/flowers --named maskany:plain --also maskany:noreuse

DIR is what the command wrote for images with one class each. For each variant against the plain network: the difference
in top-1, its 95 % interval over seeds and images, both paired, and the probability of one as large by chance. What was
named beforehand (--named VARIANT:OTHER) is tested alone; all other comparisons, those of --also VARIANT:OTHER too, are
corrected for how many they are (Holm).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.analysis.paired import holm, paired_difference
from mmmaskany.experiments.runs import mean_spread
from mmmaskany.experiments.tables import markdown_table
from mmmaskany.user_errors import run


def scores(folder: Path) -> dict[str, dict[int, np.ndarray]]:
    """Read which validation images each run got right.

    Args:
        folder (Path): What ``mmmaskany finetune`` wrote.

    Returns:
        dict[str, dict[int, np.ndarray]]: By variant and seed, 100 or 0 for each image.

    Raises:
        FileNotFoundError: If there is no finished run.
        ValueError: If it is not about images with one class each.
    """
    listed = folder / 'data/val.txt'
    if not listed.is_file():
        raise FileNotFoundError(f'DIR must be what mmmaskany finetune wrote, with data/val.txt, but got {folder}')
    truth = np.array([int(line.rsplit(maxsplit=1)[1]) for line in listed.read_text().splitlines()])
    found: dict[str, dict[int, np.ndarray]] = {}
    for path in sorted(folder.glob('*/seed*/measured.npz')):
        with np.load(path) as stored:
            predicted = stored['predicted']
        if predicted.shape != truth.shape:
            raise ValueError(f'{path} must hold one class for each of {len(truth)} images, but has {predicted.shape}')
        found.setdefault(path.parents[1].name, {})[int(path.parent.name[4:])] = 100.0 * (predicted == truth)
    if not found:
        raise FileNotFoundError(f'DIR must have runs that were measured, */seed*/measured.npz, but {folder} has none')
    return found


def compare(
    found: dict[str, dict[int, np.ndarray]], named: list[tuple[str, str]], also: list[tuple[str, str]] = ()
) -> str:
    """Compare variants, all with the plain network.

    Args:
        found (dict): As of :func:`scores`.
        named (list[tuple[str, str]]): The comparisons that were named beforehand.
        also (list[tuple[str, str]]): Further ones. Defaults to ().

    Returns:
        str: A table as Markdown.

    Raises:
        ValueError: If a variant is not there, two that were named have fewer than two seeds in common, or nothing can
            be compared.
    """
    others = [
        (variant, 'plain')
        for variant in found
        if variant != 'plain' and 'plain' in found and (variant, 'plain') not in named
    ]
    if not (named or also or others):
        raise ValueError(
            f'there must be two variants to compare, one of them plain or --named, but got {", ".join(found)}'
        )
    few = [variant for variant, other in others if len(found[variant].keys() & found[other].keys()) < 2]
    others = [(variant, other) for variant, other in others if variant not in few] + list(also)
    differences = []
    for variant, other in (*named, *others):
        if absent := [name for name in (variant, other) if name not in found]:
            raise ValueError(f'variants must be of {", ".join(found)}, but got {", ".join(absent)}')
        seeds = sorted(found[variant].keys() & found[other].keys())
        if len(seeds) < 2:
            raise ValueError(f'{variant} and {other} must have two seeds in common, but have {seeds}')
        pair = (np.stack([found[name][seed] for seed in seeds]) for name in (variant, other))
        differences.append(paired_difference(*pair))
    chances = [each.p for each in differences[: len(named)]] + holm([each.p for each in differences[len(named) :]])
    rows = []
    for (variant, other), difference, chance in zip((*named, *others), differences, chances, strict=True):
        own = mean_spread([scored.mean() for scored in found[variant].values()])
        gap = f'{difference.mean:+.2f} ± {difference.half:.2f}'
        rows.append([variant, own, other, gap, f'{chance:.3f}'])
    text = markdown_table(['variant', 'top-1 (%)', 'against', 'difference', 'chance'], rows, words=(0, 2))
    if few:
        text += f'\nNot compared, for want of two seeds that plain has, too: {", ".join(few)}.'
    return text.rstrip()


def main(argv: list[str] | None = None) -> int:
    """Compare and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dir', metavar='DIR', type=Path, help='what mmmaskany finetune wrote')
    parser.add_argument('--named', nargs='*', default=[], metavar='VARIANT:OTHER', help='comparisons named beforehand')
    parser.add_argument('--also', nargs='*', default=[], metavar='VARIANT:OTHER', help='further comparisons')
    args = parser.parse_args(argv)
    try:
        if wrong := [pair for pair in (*args.named, *args.also) if pair.count(':') != 1]:
            raise ValueError(f'comparisons must be pairs such as maskany:plain, but got {", ".join(wrong)}')
        named, also = ([tuple(pair.split(':')) for pair in pairs] for pairs in (args.named, args.also))
        found = scores(args.dir)
        print(compare(found, named, also))
    except (ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    seeds, images = max(map(len, found.values())), len(next(iter(next(iter(found.values())).values())))
    print(f'\n± is a 95 % interval over {seeds} seeds and {images:,} images; {len(found)} variants were looked at.')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
