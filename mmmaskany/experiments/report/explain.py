# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The images on which two variants disagree most, and where in them each finds what it says."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.dataset import pseudo_collate

from mmmaskany.analysis.cam import Explainer
from mmmaskany.visualization import COLORS, pixels

from ..plan import Plan
from ..runs import Run
from ..variants import VARIANTS
from .measure import Measured, load

#: How many images are shown.
SHOWN = 6


def disagreements(plan: Plan, pairs: Sequence[tuple[Measured, Measured]], count: int = SHOWN) -> list[int]:
    """Choose the images on which two variants disagree most, over all seeds.

    Args:
        plan (Plan): The plan.
        pairs (Sequence[tuple[Measured, Measured]]): What was measured of both, for each seed.
        count (int): How many. Defaults to :data:`SHOWN`.

    Returns:
        list[int]: Their places in the validation data: those whose true class they give the most different
            probability (classification), that they label most differently (segmentation), or whose boxes have the
            most without a counterpart (detection).
    """
    differences = []
    for one, other in pairs:
        if plan.data.task == 'classification':
            differences.append(one.score - other.score)
        elif plan.data.task == 'segmentation':
            differences.append((one.predicted != other.predicted).mean((1, 2)))
        else:
            differences.append(
                np.array([unmatched(a, b) + unmatched(b, a) for a, b in zip(one.found, other.found, strict=True)])
            )
    mean = np.abs(np.mean(differences, 0))
    return np.argsort(-mean, kind='stable')[:count].tolist()


def unmatched(boxes: Sequence, others: Sequence) -> int:
    """Count boxes that have none of their class with an IoU of at least 0.5 among others.

    Args:
        boxes (Sequence): Boxes as x1, y1, x2, y2, class.
        others (Sequence): Likewise.

    Returns:
        int: The count.
    """
    return sum(not any(box[4] == other[4] and _iou(box[:4], other[:4]) >= 0.5 for other in others) for box in boxes)


def _iou(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    inside = max(0, width) * max(0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return inside / max(areas - inside, 1e-6)


def looking_sheet(plan: Plan, runs: Sequence[Run], places: Sequence[int]) -> bytes:
    """Draw the images, and below them what two runs say and where they find it.

    Args:
        plan (Plan): The plan.
        runs (Sequence[Run]): The runs.
        places (Sequence[int]): The places of the images in the validation data.

    Returns:
        bytes: A PNG.

    Raises:
        ImportError: If the grad-cam library is missing.
    """
    classes = plan.data.classes
    figure = Figure((1.75 * len(places) + 0.3, 5.4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(1 + len(runs), len(places), squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    axes[0, 0].set_ylabel('image', fontsize=9)
    for row, run in enumerate(runs, 1):
        model, _, dataset = load(run, plan.out)
        explainer = Explainer(model)
        axes[row, 0].set_ylabel(VARIANTS[run.variant].title, fontsize=9)
        for column, place in enumerate(places):
            batch = model.data_preprocessor(pseudo_collate([dataset[place]]), False)
            sample = batch['data_samples'][0]
            found = explainer(batch['inputs'], sample)
            height, width = sample.img_shape[:2] if 'img_shape' in sample else batch['inputs'].shape[-2:]
            image = pixels(batch['inputs'], model.data_preprocessor)[0].cpu().numpy()[:height, :width]
            if row == 1:
                axes[0, column].imshow(image)
                truth = classes[int(sample.gt_label[0])] if 'gt_label' in sample else Path(sample.img_path).stem
                axes[0, column].set_title(_name(truth), fontsize=8)
            axes[row, column].imshow(0.25 + image.mean(-1) / 2, cmap='gray', vmin=0, vmax=1)
            axes[row, column].imshow(found.cam[:height, :width], cmap='inferno', vmin=0, vmax=1, alpha=0.6)
            axes[row, column].set_title(_said(found, classes), fontsize=8)
            for left, top, right, bottom in found.boxes:
                axes[row, column].add_patch(
                    Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=COLORS[5], linewidth=1)
                )
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=120, metadata={'Software': None})
    return buffer.getvalue()


def _name(text: str) -> str:
    return text if len(text) <= 20 else f'{text[:19]}…'


def _said(found: object, classes: Sequence[str]) -> str:
    if found.predicted is not None:
        right = found.predicted == found.label
        return f'{"right" if right else _name(classes[found.predicted])}, true {100 * found.score:.0f} %'
    if len(found.boxes):
        return f'{len(found.boxes)} found, best {found.score:.2f}'
    if found.label is not None and found.score is not None:
        return _name(f'{classes[found.label]} {found.score:.2f}')
    return 'nothing found'
