# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Sheets of images: undo the normalisation, show views of several sizes side by side."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor


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
