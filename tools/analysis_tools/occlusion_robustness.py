# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure how a trained network's results fall as more and more of each test image is hidden.

    python tools/analysis_tools/occlusion_robustness.py --out work_dirs/occlusion \\
        --model plain configs/maskany/resnet18-narrow_1xb32-coslr-8e_digits.py work_dirs/quickstart/plain/epoch_8.pth \\
        --model MaskAny configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py \\
        work_dirs/quickstart/MaskAny/epoch_8.pth

Classifiers, detectors and segmentors, all of one task. Each image comes from the config's own test data and data
preprocessor, is hidden in part, and goes through the model as any other image: for one with a second stem the reused
view is the occluded image at half size, so nothing that is hidden reaches it. What is hidden, and by what, follows from
the pattern, the share, the image's size and place in the data and --seed alone, so all models see the same images; what
pads an image to those of its batch is not hidden and does not count. Models of one
label, such as the seeds of one method, are one curve with their spread.

--fill says what hidden pixels show: black, the mean colour of the data, a smooth random texture, or the same place of
another test image; with `layers` they show nothing, for they are hidden from every layer of a CNN (layer masking, arXiv
2211.14646), so that neither a colour nor an edge stands for them. --objects COCO.json FOLDER adds the pattern
"objects": objects of other photos, cut out along their outlines, are pasted, a tenth of the image each, until at least
the share is hidden. Up to 200 are taken that are outlined by polygons and 32 px wide and high or more.

In OUT are written `occlusion.png` and `.svg`, one panel per pattern; `occlusion.md`, a table; `occlusion.csv`, with
every single number; and `occlusion.json`, what was measured so far: the same command goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.progress import track
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.analysis.candidates import TASKS, Candidate, Loaded, load_candidate
from mmmaskany.analysis.named_patterns import NAMED_PATTERNS, pattern_cfg
from mmmaskany.analysis.occlusion import FILLS, Hide, Pixels, by_pattern, evaluate_hidden, whole
from mmmaskany.analysis.pasted_objects import PastedObjects
from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.experiments.runs import METRIC_OF, METRICS, mean_spread
from mmmaskany.experiments.tables import grouped, markdown_table, write_csv
from mmmaskany.models.algebra import build_pattern
from mmmaskany.user_errors import run
from mmmaskany.visualization import save_figure
from mmmaskany.visualization.curves import draw_curve, new_panels

#: The pattern of pasted objects.
OBJECTS = 'objects'


def by_objects(ratio: float, args: argparse.Namespace, loaded: Loaded, objects: PastedObjects) -> Hide:
    """Return how pasted objects hide a share of images; as :func:`by_pattern`."""
    pixels = Pixels.of(loaded.model.data_preprocessor)
    return lambda images, first, _: nullcontext(objects.paste(images, ratio, pixels, first, args.seed))


def measure(loaded: Loaded, ways: Sequence[Hide], args: argparse.Namespace, what: str = '') -> list[dict]:
    """Test a network on its test data, hidden in each of some ways.

    Args:
        loaded (Loaded): The network.
        ways (Sequence[Hide]): The ways.
        args (argparse.Namespace): The command line.
        what (str): What the bar says. Defaults to ''.

    Returns:
        list[dict]: One row for each way: the mean share that is ``masked``, the number of ``images``, and the metric
        under its title.

    Raises:
        ValueError: If the evaluator does not give the metric.
    """
    metric = args.metric or METRIC_OF[loaded.cfg.default_scope]
    count = len(loaded.places)
    if args.fill == 'image' and count < 2:
        raise ValueError('--fill image needs another image for each, so at least 2 test images, but got 1')
    partners = loaded.batches(shift=count // 2) if args.fill == 'image' else None
    bar = dict(
        description=what,
        total=-(-count // loaded.cfg.test_dataloader.batch_size),
        console=Console(stderr=True),
        transient=True,
    )
    title, factor = METRICS.get(metric, (metric, 1))
    rows = []
    for metrics, share in evaluate_hidden(loaded, ways, partners, lambda batches: track(batches, **bar)):
        if metrics and metric not in metrics:
            raise ValueError(f'--metric must be one that the test_evaluator gives, {list(metrics)}, not {metric}')
        value = max(0.0, float(metrics.get(metric, 0)))  # a detector that finds nothing has no metric, or -1
        rows.append(dict(masked=round(share, 4), images=count, **{title: round(value * factor, 4)}))
    return rows


class Kept:
    """What was measured so far, in a file: each network and pattern is measured once.

    Args:
        path (Path): The file; it need not be there.
        settings (dict): What all measurements of the file have in common.

    Raises:
        ValueError: If the file is of other settings.
    """

    def __init__(self, path: Path, settings: dict) -> None:
        self.path = path
        self.content = dict(settings=settings, rows={})
        if path.exists():
            self.content = json.loads(path.read_text())
            differ = [key for key, value in settings.items() if self.content['settings'].get(key) != value]
            if differ:
                old, new = ({key: of.get(key) for key in differ} for of in (self.content['settings'], settings))
                raise ValueError(f'--out must be a new folder or one with {old}, as it was begun, but got {new}')

    def rows(
        self, candidate: Candidate, cfg: Config, name: str, ratios: Sequence[float], measure: Callable[[], list]
    ) -> list[dict]:
        """Return the rows of a network and a pattern, measured unless they are there."""
        changed = candidate.checkpoint.stat().st_mtime_ns
        network = hashlib.blake2b(repr(cfg.to_dict()).encode(), digest_size=8).hexdigest()
        key = json.dumps([str(candidate.checkpoint.resolve()), changed, network, name, list(ratios)])
        if key not in self.content['rows']:
            self.content['rows'][key] = measure()
            atomic_write(self.path, json.dumps(self.content).encode())
        return self.content['rows'][key]


def measure_all(args: argparse.Namespace) -> Iterator[list[dict]]:
    """Measure one network after the other.

    Args:
        args (argparse.Namespace): The command line.

    Yields:
        list[dict]: The rows of a network: ``label``, ``checkpoint``, ``pattern``, and those of :func:`measure`, the
        whole image in front of each pattern.

    Raises:
        FileNotFoundError: If a config, a checkpoint or data are missing.
        ValueError: If they do not fit together.
    """
    objects = PastedObjects(*args.objects) if args.objects else None
    for ratio in args.ratios:  # what is wrong is said before anything is measured
        if not 0 < ratio < 1:
            raise ValueError(f'--ratios must be in (0, 1), but got {ratio}')
        for name in args.patterns:
            build_pattern(pattern_cfg(name, 224, args.cell, ratio=ratio), ())
    names = [*args.patterns, *([OBJECTS] if objects else [])]
    common = ('fill', 'cell', 'seed', 'num_images', 'metric', 'objects')
    settings = {key: getattr(args, key) for key in common}
    if args.objects:  # another file of the same name is another measurement
        annotations, folder = (Path(path).resolve() for path in args.objects)
        settings['objects'] = [str(annotations), annotations.stat().st_mtime_ns, str(folder)]
    kept = Kept(args.out / 'occlusion.json', settings)
    scopes = tuple(TASKS)
    candidates = Candidate.from_args(args)
    models = [(candidate.label, str(candidate.checkpoint.resolve())) for candidate in candidates]
    if twice := [model for model in dict.fromkeys(models) if models.count(model) > 1]:
        raise ValueError(
            f'a label must have each checkpoint once, but got twice {twice}: give them labels of their own'
        )
    sizes: dict[str, tuple[int, int] | None] = {}
    for candidate in candidates:
        loaded = load_candidate(candidate, args.num_images, args.device, scopes)
        scopes = (loaded.cfg.default_scope,)
        first = loaded.dataset[loaded.places[0]]['inputs']
        sizes[candidate.label] = tuple(first.shape[-2:]) if isinstance(first, Tensor) else None
        if len({*sizes.values()}) > 1:
            raise ValueError(f'all models must be tested on images of one size, height and width, but got {sizes}')
        whole_rows, rows = [], []
        for name in ('', *names):
            ways = [whole]
            if name:
                ways = [
                    by_objects(ratio, args, loaded, objects)
                    if name == OBJECTS
                    else by_pattern(name, ratio, loaded, args.fill, args.cell, args.seed)
                    for ratio in args.ratios
                ]
            what = f'{candidate.label}, {candidate.checkpoint}: {f"{name} masks" if name else "whole images"}'
            begun = time.perf_counter()
            found = kept.rows(
                candidate,
                loaded.cfg,
                name,
                args.ratios if name else [],
                lambda: measure(loaded, ways, args, what),  # noqa: B023
            )
            print(f'{what}: {found[0]["images"]:,} images, {time.perf_counter() - begun:.0f} s', flush=True)
            own = dict(label=candidate.label, checkpoint=str(candidate.checkpoint))
            whole_rows = whole_rows or found
            # Cells are whole: two ratios may hide the same.
            of_pattern = {row['masked']: dict(own, pattern=name, **row) for row in (*whole_rows, *found) if name}
            rows += of_pattern.values()
        yield rows


def write_table(rows: Sequence[dict], out: Path) -> str:
    """Write the metric of each label by pattern and masked share, and its mean over the shares, as Markdown.

    Args:
        rows (Sequence[dict]): As of :func:`measure_all`, of all networks.
        out (Path): The file.

    Returns:
        str: The table.
    """
    title = list(rows[0])[-1]
    labels = list(dict.fromkeys(row['label'] for row in rows))
    lines = []
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
    text = markdown_table(['pattern', 'masked (%)', *(f'{label}, {title}' for label in labels)], lines)
    atomic_write(out, text.encode())
    return text


def draw(rows: Sequence[dict], title: str, out: Path) -> list[Path]:
    """Draw the curve of each label, one panel per pattern.

    Args:
        rows (Sequence[dict]): As of :func:`measure_all`, of all networks.
        title (str): What is said above the plot.
        out (Path): Where to, without suffix.

    Returns:
        list[Path]: The files.
    """
    metric = list(rows[0])[-1]
    patterns = grouped(rows, 'pattern')
    titles = [f'{name} masks' if name != OBJECTS else 'pasted objects' for name in patterns]
    # Title and legend are as wide as two panels, or as one that is larger.
    figure, panels = new_panels(titles, **(dict(size=(6.4, 4.2)) if len(titles) == 1 else {}))
    for axes, own in zip(panels, patterns.values(), strict=True):
        for index, (label, points) in enumerate(grouped(own, 'label').items()):
            shares = grouped(points, 'masked')
            values = [[row[metric] for row in at_share] for at_share in shares.values()]
            draw_curve(axes, [100 * share for share in shares], values, label, index)
        axes.set(xlabel='hidden share of each test image (%)', ylabel=metric, xlim=(-2, 100))
        axes.sharey(panels[0])
    panels[0].set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc='outside lower center', ncols=min(len(labels), 3 if len(titles) > 1 else 2), frameon=False
    )
    figure.suptitle(title, fontsize='small')
    return save_figure(figure, out)


def main(argv: list[str] | None = None) -> int:
    """Measure, write and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Candidate.add_arguments(parser)
    parser.add_argument('--out', type=Path, required=True, help='folder of the plot, the table and the numbers')
    parser.add_argument(
        '--patterns',
        nargs='*',
        default=['patch', 'grid', 'random', 'block'],
        help=f'of {", ".join(NAMED_PATTERNS)}, or types of others',
    )
    parser.add_argument(
        '--ratios',
        type=float,
        nargs='+',
        default=[step / 10 for step in range(1, 10)],
        help='hidden shares, beside the whole image (default: 0.1 0.2 ... 0.9)',
    )
    parser.add_argument('--fill', choices=FILLS, help='what masked pixels show (default: black)')
    parser.add_argument(
        '--objects', nargs=2, metavar=('JSON', 'FOLDER'), help='also paste objects: COCO annotations and their images'
    )
    parser.add_argument('--cell', type=int, help="side of a cell in px (default: an eighth of the images' side)")
    parser.add_argument('--seed', type=int, default=0, help='seed of the masks (default: 0)')
    parser.add_argument('--metric', help='of the test_evaluator (default: top-1, box AP or mIoU)')
    args = parser.parse_args(argv)
    if not args.patterns and not args.objects:
        parser.error('nothing hides: name --patterns, --objects or both')
    if not args.patterns and args.fill:
        parser.error('--fill is for --patterns: objects show themselves')
    args.fill = args.fill or 'black'
    try:
        rows: list[dict] = []
        for own in measure_all(args):
            rows += own
            counts = {f'{row["label"]}, {row["checkpoint"]}': row['images'] for row in rows}
            if len(set(counts.values())) > 1:
                raise ValueError(f'all models must be tested on the same images, but got as many of them: {counts}')
            table, files = write_all(rows, args)
    except (ValueError, KeyError, OSError) as error:
        print(f'error: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 2
    print(f'\n{table}')
    for file in files:
        print(f'wrote {file}')
    return 0


def write_all(rows: Sequence[dict], args: argparse.Namespace) -> tuple[str, list[Path]]:
    """Write the numbers, the table and the plot; return the table and the files of the plot."""
    write_csv(rows, args.out / 'occlusion.csv')
    table = write_table(rows, args.out / 'occlusion.md')
    title = f'{rows[0]["images"]:,} test images'
    title += f', masked pixels show {FILLS[args.fill]}' if args.patterns else ''
    if len({(row['label'], row['checkpoint']) for row in rows}) > len(grouped(rows, 'label')):
        title += '\nline: mean of the checkpoints, points: each of them, band: one standard deviation'
    return table, draw(rows, title, args.out / 'occlusion')


if __name__ == '__main__':
    sys.exit(run(main))
