# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure how the accuracy of trained classifiers falls as more and more of each test image is masked.

    python tools/analysis_tools/occlusion_robustness.py --out work_dirs/occlusion \\
        --model plain configs/maskany/resnet18-narrow_1xb32-coslr-8e_digits.py work_dirs/quickstart/plain/epoch_8.pth \\
        --model MaskAny configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py \\
        work_dirs/quickstart/MaskAny/epoch_8.pth

Each image comes from the config's own test data and data preprocessor, is masked, and goes through the model as any
other image: for one with a second stem the reused view is the masked image at half size, so nothing that is masked
reaches it. A mask follows from the pattern, the masked share, the image's place in the data and --seed alone, so all
models see the same masked images. With --fill layers nothing is filled: what is masked is hidden from every layer of a
CNN (layer masking, arXiv 2211.14646), so that neither a colour nor an edge stands for it. Models of one label, such as
the seeds of one method, are one curve with their spread.

In OUT are written `occlusion.png` and `.svg`, one panel per pattern; `occlusion.md`, a table; and `occlusion.csv`,
with every single number.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.evaluator import Evaluator

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.apis import METRICS
from mmmaskany.apis.classifiers import Candidate, load_classifier
from mmmaskany.apis.patterns import PATTERNS, masked_share, pattern_cfg
from mmmaskany.apis.rows import grouped, write_csv
from mmmaskany.apis.runs import mean_spread
from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.evaluation import occlude, occlusion_mask
from mmmaskany.masking import ConstantFill, LayerMasking
from mmmaskany.models.masking import build_pattern
from mmmaskany.user_errors import run
from mmmaskany.visualization import save_figure
from mmmaskany.visualization.curves import draw_curve, new_panels

#: What stands for masked pixels, and what a plot says of it.
FILLS = {
    'black': 'masked pixels filled with black',
    'mean': 'masked pixels filled with the mean colour',
    'layers': 'masked pixels hidden from every layer',
}


def build_fill(kind: str, preprocessor: torch.nn.Module) -> ConstantFill:
    """Build the fill in units of the normalised images.

    Args:
        kind (str): 'black', or 'mean' for the mean colour of the data as the config states it.
        preprocessor (nn.Module): The data preprocessor, with the ``mean`` and ``std`` of its normalisation, if any.

    Returns:
        ConstantFill: The fill.

    Raises:
        ValueError: If the mean is asked for, but the config does not normalise.
    """
    mean = getattr(preprocessor, 'mean', None)
    if kind == 'mean' and mean is None:
        raise ValueError("--fill mean needs the data's mean in data_preprocessor.mean, but the config has none")
    if kind == 'mean' or mean is None:
        return ConstantFill(0.0)
    return ConstantFill((-mean / preprocessor.std).flatten().tolist())


def measure(candidate: Candidate, args: argparse.Namespace) -> list[dict]:
    """Test one classifier on its test data, whole and masked.

    Args:
        candidate (Candidate): The classifier.
        args (argparse.Namespace): The command line.

    Returns:
        list[dict]: One row for each pattern and masked share: ``label``, ``checkpoint``, ``pattern``, ``masked``,
        ``images`` and the metric under its title.

    Raises:
        FileNotFoundError: If config, checkpoint or data are missing.
        ValueError: If they do not fit together, the evaluator does not give the metric, or the layers of the network
            cannot be masked.
    """
    loaded = load_classifier(candidate, args.num_images, args.device)
    model, layers = loaded.model, None
    fill = None if args.fill == 'layers' else build_fill(args.fill, model.data_preprocessor)
    evaluators: dict[tuple[str, float], tuple] = {}
    count, size = 0, None
    with torch.no_grad():
        for images, samples in loaded.batches():
            if size is None:
                size = tuple(images.shape[-2:])
                evaluators = _evaluators(size, loaded.cfg, args)
                layers = LayerMasking(model, size) if fill is None else None
            elif size != tuple(images.shape[-2:]):
                raise ValueError(f'all test images must be of one size, but got {size} and {tuple(images.shape[-2:])}')
            for pattern, evaluator in evaluators.values():
                if pattern is None:
                    predictions = model(images, samples, mode='predict')
                elif layers is None:
                    masked = occlude(images, pattern, fill, count, args.seed)
                    predictions = model(masked, samples, mode='predict')
                else:
                    with layers.masked(images, occlusion_mask(images, pattern, count, args.seed)) as visible:
                        predictions = model(visible, samples, mode='predict')
                evaluator.process(predictions)
            count += len(images)
    title, factor = METRICS.get(args.metric, (args.metric, 1))
    rows = []
    for (name, share), (_, evaluator) in evaluators.items():
        metrics = evaluator.evaluate(count)
        if args.metric not in metrics:
            raise ValueError(f'--metric must be one that the test_evaluator gives, {list(metrics)}, not {args.metric}')
        what = dict(label=candidate.label, checkpoint=str(candidate.checkpoint), pattern=name, masked=round(share, 4))
        rows.append(dict(what, images=count, **{title: round(metrics[args.metric] * factor, 4)}))
    whole, *masked = rows
    return [
        dict(row, pattern=name) for name in args.patterns for row in (whole, *masked) if row['pattern'] in ('', name)
    ]


def _evaluators(size: tuple[int, int], cfg: dict, args: argparse.Namespace) -> dict:
    """Build the pattern and the evaluator of each name and masked share; the first is the whole image's."""
    tests = {('', 0.0): None}
    for name in args.patterns:
        for ratio in args.ratios:
            cfg_of_pattern = pattern_cfg(name, min(size), args.cell, ratio=ratio)
            pattern = build_pattern(cfg_of_pattern, ())  # which looks at nothing: all networks see the same masks
            tests[name, masked_share(pattern, *size)] = pattern
    return {key: (pattern, Evaluator(cfg.test_evaluator)) for key, pattern in tests.items()}


def write_table(rows: Sequence[dict], out: Path) -> str:
    """Write the metric of each label by pattern and masked share, and its mean over the shares, as Markdown.

    Args:
        rows (Sequence[dict]): As of :func:`measure`, of all classifiers.
        out (Path): The file.

    Returns:
        str: The table.
    """
    title = list(rows[0])[-1]
    labels = list(dict.fromkeys(row['label'] for row in rows))
    lines = [
        ['pattern', 'masked (%)', *(f'{label}, {title}' for label in labels)],
        ['---', *['---:'] * (1 + len(labels))],
    ]
    for name, own in grouped(rows, 'pattern').items():
        for share, at_share in grouped(own, 'masked').items():
            values = grouped(at_share, 'label')
            cells = [mean_spread([row[title] for row in values[label]]) for label in labels]
            lines.append([name, f'{100 * share:.1f}', *cells])
        means = []
        for label in labels:
            models = grouped([row for row in own if row['label'] == label], 'checkpoint')
            means.append(mean_spread([sum(row[title] for row in model) / len(model) for model in models.values()]))
        lines.append([name, 'mean', *means])
    text = ''.join(f'| {" | ".join(line)} |\n' for line in lines)
    atomic_write(out, text.encode())
    return text


def draw(rows: Sequence[dict], title: str, out: Path) -> list[Path]:
    """Draw the curve of each label, one panel per pattern.

    Args:
        rows (Sequence[dict]): As of :func:`measure`, of all classifiers.
        title (str): What is said above the plot.
        out (Path): Where to, without suffix.

    Returns:
        list[Path]: The files.
    """
    metric = list(rows[0])[-1]
    patterns = grouped(rows, 'pattern')
    figure, panels = new_panels([f'{name} masks' for name in patterns])
    for axes, own in zip(panels, patterns.values(), strict=True):
        for index, (label, points) in enumerate(grouped(own, 'label').items()):
            shares = grouped(points, 'masked')
            values = [[row[metric] for row in at_share] for at_share in shares.values()]
            draw_curve(axes, [100 * share for share in shares], values, label, index)
        axes.set(xlabel='masked share of each test image (%)', ylabel=metric, xlim=(-2, 100))
        axes.sharey(panels[0])
    panels[0].set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=min(len(labels), 4), frameon=False)
    figure.suptitle(title, fontsize='small')
    return save_figure(figure, out)


def main(argv: list[str] | None = None) -> int:
    """Measure, write and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Candidate.add_arguments(parser)
    parser.add_argument('--out', type=Path, required=True, help='folder of the plot, the table and the numbers')
    parser.add_argument(
        '--patterns',
        nargs='+',
        default=['patch', 'grid', 'random', 'block'],
        help=f'of {", ".join(PATTERNS)}, or types of others',
    )
    parser.add_argument(
        '--ratios',
        type=float,
        nargs='+',
        default=[step / 10 for step in range(1, 10)],
        help='masked shares, beside the whole image (default: 0.1 0.2 ... 0.9)',
    )
    parser.add_argument(
        '--fill',
        choices=FILLS,
        default='black',
        help='what masked pixels show (default: black); layers hides them from every layer of a CNN',
    )
    parser.add_argument('--cell', type=int, help="side of a cell in px (default: an eighth of the images' side)")
    parser.add_argument('--seed', type=int, default=0, help='seed of the masks (default: 0)')
    parser.add_argument('--metric', default='accuracy/top1', help='of the test_evaluator (default: accuracy/top1)')
    args = parser.parse_args(argv)
    try:
        rows = []
        for candidate in Candidate.from_args(args):
            rows += measure(candidate, args)
            print(f'{candidate.label}: {candidate.checkpoint} done', flush=True)
        counts = {row['checkpoint']: row['images'] for row in rows}
        if len(set(counts.values())) > 1:
            raise ValueError(f'all models must be tested on the same images, but got as many of them: {counts}')
        write_csv(rows, args.out / 'occlusion.csv')
        table = write_table(rows, args.out / 'occlusion.md')
        title = f'{rows[0]["images"]:,} test images, {FILLS[args.fill]}'
        if len(counts) > len(grouped(rows, 'label')):
            title += '\nline: mean of the checkpoints, points: each of them, band: one standard deviation'
        files = draw(rows, title, args.out / 'occlusion')
    except (ValueError, KeyError, OSError) as error:
        print(f'error: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    print(f'\n{table}')
    for file in files:
        print(f'wrote {file}')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
