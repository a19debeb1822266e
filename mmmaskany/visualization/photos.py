# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Two photos for pictures of what masking does, which scikit-learn ships under CC BY 2.0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: The photos: file in scikit-learn, whose it is, and the left edge in px of the square that is shown.
PHOTOS = {'temple': ('china.jpg', 'danielbuechele', 50), 'flower': ('flower.jpg', 'vultilion', 110)}
_CROP = 392  # px


def load_photo(name: str = 'temple', side: int = _CROP) -> Tensor:
    """Load a square of a photo.

    Args:
        name (str): Key of :data:`PHOTOS`. Defaults to 'temple'.
        side (int): Side in px that the 392 px of the square are resized to. Defaults to 392.

    Returns:
        Tensor: ``(1, 3, side, side)`` with values in [0, 1].

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    from sklearn.datasets import load_sample_image

    file, _, left = PHOTOS[name]
    photo = torch.from_numpy(load_sample_image(file).copy())[:_CROP, left : left + _CROP]
    photo = photo.permute(2, 0, 1)[None] / 255
    return photo if side == _CROP else F.interpolate(photo, size=(side, side), mode='area')


def credit(*names: str) -> str:
    """Say whose photos a picture shows: ``credit('temple')``."""
    owners = ' and '.join(f'{PHOTOS[name][1]} ({PHOTOS[name][0]})' for name in names)
    return f'photo{"s" if len(names) > 1 else ""}: {owners}, CC BY 2.0, as in scikit-learn, cropped'
