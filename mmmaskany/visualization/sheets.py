# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Sheets of images: undo the normalisation, show what masking made of samples side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from .plots import COLORS

#: The colour of masked cells, orange.
MASKED = COLORS[1]


class Panels(NamedTuple):
    """What a sheet shows of one sample, each ``(h, w, 3)`` with values in [0, 1]; a sheet leaves out what is None.

    Args:
        image (np.ndarray | None): The image.
        mask (np.ndarray | None): Which of its pixels are masked, orange.
        visible (np.ndarray | None): The image with its masked cells filled.
        reused (np.ndarray | None): What the second stem sees.
        caption (str): What to write beside it. Defaults to ''.
    """

    image: np.ndarray | None
    mask: np.ndarray | None
    visible: np.ndarray | None
    reused: np.ndarray | None
    caption: str = ''


def pixels(images: Tensor, preprocessor: torch.nn.Module) -> Tensor:
    """Undo the normalisation of a batch.

    Args:
        images (Tensor): Normalised images ``(B, C, H, W)``.
        preprocessor (nn.Module): The data preprocessor, with the ``mean`` and ``std`` of the normalisation, if any.

    Returns:
        Tensor: ``(B, H, W, C)`` with values in [0, 1].
    """
    if hasattr(preprocessor, 'mean'):
        images = images * preprocessor.std + preprocessor.mean
    return (images / 255).clamp(0, 1).permute(0, 2, 3, 1)


def mask_picture(mask: np.ndarray) -> np.ndarray:
    """Paint masked pixels orange and the others white.

    Args:
        mask (np.ndarray): Bool ``(h, w)``, True = masked.

    Returns:
        np.ndarray: ``(h, w, 3)`` with values in [0, 1].
    """
    return np.where(mask[..., None], to_rgb(MASKED), 1.0)


def batch_panels(
    preprocessor: torch.nn.Module,
    visible: Tensor,
    reused: Tensor | None = None,
    images: Tensor | None = None,
    mask: Tensor | None = None,
    captions: Sequence[str] = (),
) -> list[Panels]:
    """Make the panels of a batch out of what a model saw.

    Args:
        preprocessor (nn.Module): The data preprocessor that the images come from.
        visible (Tensor): Normalised visible images, ``(B, C, H, W)``.
        reused (Tensor | None): Normalised reused images, ``(B, C, h, w)``. Defaults to None.
        images (Tensor | None): Normalised images before they were masked, ``(B, C, H, W)``. Defaults to None.
        mask (Tensor | None): Which pixels are masked, bool ``(B, 1, H, W)``. Defaults to None.
        captions (Sequence[str]): What to write beside each. Defaults to ().

    Returns:
        list[Panels]: One for each sample.
    """
    count = len(visible)

    def shown(batch: Tensor | None) -> Sequence[np.ndarray | None]:
        return [None] * count if batch is None else pixels(batch.detach().float(), preprocessor).cpu().numpy()

    masks = [None] * count if mask is None else [mask_picture(one[0]) for one in mask.cpu().numpy()]
    captions = captions or [''] * count
    return [Panels(*row) for row in zip(shown(images), masks, shown(visible), shown(reused), captions, strict=True)]


def draw_panel(axis: Axes, image: np.ndarray, height: int, width: int) -> None:
    """Show one image in its true size relative to others, in the middle.

    Args:
        axis (Axes): Where to.
        image (np.ndarray): ``(h, w)`` or ``(h, w, 3)`` with values in [0, 1].
        height (int): Height of the largest image in pixels.
        width (int): Its width in pixels.
    """
    h, w = image.shape[:2]
    left, top = (width - w) / 2, (height - h) / 2
    axis.imshow(image, extent=(left, left + w, top + h, top), interpolation='nearest', vmin=0, vmax=1)
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color='0.7', linewidth=0.5)


def sheet(rows: Sequence[tuple[str, Sequence[Panels]]], title: str = '') -> Figure:
    """Lay out samples in rows.

    Args:
        rows (Sequence[tuple[str, Sequence[Panels]]]): For each row what to call it, and its samples; a row may have
            fewer than the first.
        title (str): What stands above all. Defaults to ''.

    Returns:
        Figure: The sheet.
    """
    samples = [sample for _, line in rows for sample in line]
    heads = [name for name in Panels._fields[:-1] if any(getattr(sample, name) is not None for sample in samples)]
    captions = any(sample.caption for sample in samples)
    groups = max(len(line) for _, line in rows)
    sizes = [
        getattr(sample, name).shape[:2] for sample in samples for name in heads if getattr(sample, name) is not None
    ]
    aspect = max(height / width for height, width in sizes)
    side = 1.05 if max(map(max, sizes)) <= 128 else 1.8  # in

    # One group of panels per sample, and a narrow empty column between the groups.
    gap = 0.25 if captions else 0.12
    columns = ([1.0] * len(heads) + [gap]) * groups
    columns.pop()
    labels = 1.2 if any(label for label, _ in rows) else 0.3
    figure = Figure((labels + side * sum(columns), 0.7 + (side * aspect + 0.07) * len(rows)))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), width_ratios=columns, squeeze=False)
    for (label, line), panels in zip(rows, axes, strict=True):
        for axis in panels:
            axis.axis('off')
        for index, sample in enumerate(line):
            group = panels[index * (len(heads) + 1) :][: len(heads)]
            for name, axis in zip(heads, group, strict=True):
                picture = getattr(sample, name)
                if picture is None:
                    continue
                axis.axis('on')
                # The reused view is shown as large as it is beside the visible one.
                larger = sample.visible if name == 'reused' and sample.visible is not None else picture
                draw_panel(axis, picture, *larger.shape[:2])
                if line is rows[0][1]:
                    axis.set_title(name, fontsize=9)
            if sample.caption:
                group[0].set_ylabel(sample.caption, fontsize=7, labelpad=2)
        if label:
            panels[0].set_ylabel(label, rotation=0, ha='right', va='center', fontsize=8, labelpad=8)
    figure.suptitle(title, fontsize=9, y=1 - 0.04 / figure.get_figheight())
    figure.tight_layout(pad=0.3)
    return figure


def to_array(figure: Figure, dpi: int = 130) -> np.ndarray:
    """Draw a figure into an array.

    Args:
        figure (Figure): The figure.
        dpi (int): Pixels per inch. Defaults to 130.

    Returns:
        np.ndarray: RGB, uint8 ``(h, w, 3)``.
    """
    figure.set_dpi(dpi)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
