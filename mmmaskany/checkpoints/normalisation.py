# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How the images were prepared that weights were trained with, where their source tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Normalisation(NamedTuple):
    """What weights want of their images.

    Args:
        mean (tuple[float, ...]): Of each channel, for pixels from 0 to 255.
        std (tuple[float, ...]): Likewise.
        to_rgb (bool): Whether the channels are red, green, blue; else blue, green, red.
        interpolation (str | None): How images are resized, in the words of MMCV and timm ('bicubic').
        size (int | None): Side of the square at evaluation, in px.
        crop (float | None): Its part of the resized short side, such as 0.875.
        source (str): Who says so.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    to_rgb: bool = True
    interpolation: str | None = None
    size: int | None = None
    crop: float | None = None
    source: str = ''


def find_normalisation(path: str, checkpoint: Mapping) -> Normalisation | None:
    """Find out how the images were prepared that a file was trained with.

    Args:
        path (str): The file.
        checkpoint (Mapping): What it holds.

    Returns:
        Normalisation | None: None where nobody says.
    """
    return None
