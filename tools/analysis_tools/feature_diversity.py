# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Measure how diverse the features of trained classifiers are.

    python tools/analysis_tools/feature_diversity.py --out work_dirs/diversity \\
        --model plain configs/maskany/resnet18-narrow_1xb32-coslr-8e_digits.py work_dirs/quickstart/plain/epoch_8.pth \\
        --model MaskAny configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py \\
        work_dirs/quickstart/MaskAny/epoch_8.pth

Of the features that the head sees, for the config's own test images:

- effective rank (Roy and Vetterli, 2007): over how many directions they spread;
- Fisher ratio: scatter between the classes over scatter within them;
- nearest class mean: share of the images that lie nearest to the mean of their class (without themselves in it).

And of the two stems of MaskAny's networks:

- stem CKA (Kornblith et al., 2019): how alike their features are at the same places; 1 is the same but for rotation and
  scale, 0 is no linear relation. A plain network has no second stem, nor has late fusion (`fuse_at`).

Models of one label, such as the seeds of one method, are shown with their spread. In OUT are written `diversity.png`
and `.svg`, `diversity.md`, a table, and `diversity.csv`, with every single number.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.analysis.candidates import Candidate, load_candidate
from mmmaskany.analysis.diversity import centroid_accuracy, effective_rank, fisher_ratio, linear_cka
from mmmaskany.checkpoints.atomic import atomic_write
from mmmaskany.experiments.runs import mean_spread
from mmmaskany.experiments.tables import grouped, markdown_table, write_csv
from mmmaskany.user_errors import run
from mmmaskany.visualization import COLORS, MARKERS, save_figure
from mmmaskany.visualization.curves import new_panels

#: The measures by their names in the rows: what tables and plots call them.
MEASURES = {
    'rank': 'effective rank of features',
    'fisher': 'Fisher ratio of classes',
    'centroid': 'nearest class mean (%)',
    'cka': 'linear CKA between stems',
}
#: Places of an image, in each direction, at which the stems are compared.
PLACES = 8


def measure(candidate: Candidate, num_images: int | None = None, device: str | None = None) -> dict:
    """Measure one classifier on its test data.

    Args:
        candidate (Candidate): The classifier.
        num_images (int | None): Number of test images, evenly spread over all. None are all. Defaults to None.
        device (str | None): Where to run; None is the first GPU, or the CPU. Defaults to None.

    Returns:
        dict: ``label``, ``checkpoint``, number of ``images`` and of ``features``, and the :data:`MEASURES`; ``cka`` is
        None without a second stem.

    Raises:
        FileNotFoundError: If config, checkpoint or data are missing.
        ValueError: If they do not fit together, or a measure is not defined for the features.
    """
    loaded = load_candidate(candidate, num_images, device)
    model = loaded.model
    stems: list[tuple[Tensor, Tensor]] = []
    dual = getattr(model.backbone, 'dual_stem', None)
    if dual is not None:  # what enters the fusion: both at the same size
        dual.fusion.register_forward_pre_hook(lambda _, maps: stems.append(tuple(map(at_places, maps))))
    features, labels = [], []
    with torch.no_grad():
        for images, samples in loaded.batches():
            features.append(pooled(model.extract_feat(images)).cpu())
            labels += [sample.gt_label for sample in samples]
    if any(len(label) != 1 for label in labels):
        raise ValueError(f'each image must have one label, but {candidate.config} has several of one')
    features, labels = torch.cat(features), torch.cat(labels).cpu()
    row = dict(label=candidate.label, checkpoint=str(candidate.checkpoint), images=len(features))
    return dict(
        row,
        features=features.shape[1],
        rank=effective_rank(features),
        fisher=fisher_ratio(features, labels),
        centroid=100 * centroid_accuracy(features, labels),
        cka=linear_cka(*map(torch.cat, zip(*stems, strict=True))) if stems else None,
    )


def pooled(features: Sequence[Tensor] | Tensor) -> Tensor:
    """Return the features of a batch as a matrix.

    Args:
        features (Sequence[Tensor] | Tensor): What ``extract_feat`` gives: of several levels the last counts. Maps are
            averaged over the places.

    Returns:
        Tensor: ``(B, D)``.
    """
    while isinstance(features, (list, tuple)):
        features = features[-1]
    return features.flatten(2).mean(2) if features.dim() > 2 else features


def at_places(maps: Tensor) -> Tensor:
    """Take the features at evenly spread places of each map: neighbours are much alike, and a map has many places.

    Args:
        maps (Tensor): ``(B, C, h, w)``.

    Returns:
        Tensor: ``(B * places, C)``, with at most :data:`PLACES` rows and columns of places.
    """
    picks = [[index * side // min(side, PLACES) for index in range(min(side, PLACES))] for side in maps.shape[-2:]]
    picked = maps[:, :, picks[0]][..., picks[1]]
    return nn.Flatten(0, 2)(picked.permute(0, 2, 3, 1)).cpu()


def write_table(rows: Sequence[dict], out: Path) -> str:
    """Write the measures of each label as Markdown.

    Args:
        rows (Sequence[dict]): As of :func:`measure`, of all classifiers.
        out (Path): The file.

    Returns:
        str: The table.
    """
    lines = []
    for label, own in grouped(rows, 'label').items():
        cells = [mean_spread([row[key] for row in own if row[key] is not None]) for key in MEASURES]
        cells[0] += f' of {own[0]["features"]}'
        lines.append([label, *cells, str(len(own)), f'{own[0]["images"]:,}'])
    text = markdown_table(['model', *MEASURES.values(), 'checkpoints', 'images'], lines)
    atomic_write(out, text.encode())
    return text


def draw(rows: Sequence[dict], out: Path) -> list[Path]:
    """Draw every checkpoint as a point and the mean of each label as a line, one panel per measure.

    Args:
        rows (Sequence[dict]): As of :func:`measure`, of all classifiers.
        out (Path): Where to, without suffix.

    Returns:
        list[Path]: The files.
    """
    labels = grouped(rows, 'label')
    shown = {key: title for key, title in MEASURES.items() if any(row[key] is not None for row in rows)}
    figure, panels = new_panels([''] * len(shown), size=(3.6, 0.9 + 0.35 * len(labels)))
    for axes, (key, title) in zip(panels, shown.items(), strict=True):
        for index, own in enumerate(labels.values()):
            values = [row[key] for row in own if row[key] is not None]
            color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
            if values:
                axes.plot(values, [index] * len(values), linestyle='', color=color, marker=marker, alpha=0.7)
                mean = statistics.mean(values)
                axes.plot([mean, mean], [index - 0.3, index + 0.3], color=color, linewidth=1.5)
            else:
                axes.annotate(
                    'no second stem', (0.5, index), xycoords=('axes fraction', 'data'), ha='center', va='center'
                )
        axes.set(xlabel=title, yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -0.5))
        axes.margins(x=0.15)
    counts = ', '.join(sorted({f'{row["images"]:,}' for row in rows}))
    figure.suptitle(f'{counts} test images; point: one checkpoint, line: mean', fontsize='small')
    return save_figure(figure, out)


def main(argv: list[str] | None = None) -> int:
    """Measure, write and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    Candidate.add_arguments(parser)
    parser.add_argument('--out', type=Path, required=True, help='folder of the plot, the table and the numbers')
    args = parser.parse_args(argv)
    try:
        rows = [measure(candidate, args.num_images, args.device) for candidate in Candidate.from_args(args)]
        write_csv(rows, args.out / 'diversity.csv')
        table = write_table(rows, args.out / 'diversity.md')
        files = draw(rows, args.out / 'diversity')
    except (ValueError, KeyError, OSError) as error:
        print(f'error: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 2
    print(f'\n{table}')
    for file in files:
        print(f'wrote {file}')
    return 0


if __name__ == '__main__':
    sys.exit(run(main))
