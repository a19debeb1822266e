# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Objects of other photos, pasted onto test images to hide parts of them, in the same way for every network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mmmaskany.engine.seeding.seeds import derive_seed

from .occlusion import Pixels

#: Objects are pasted that are at least so many pixels wide and high.
_SMALLEST = 32


class PastedObjects:
    """Objects of other photos, cut out along their outlines and pasted onto images until enough of them is hidden.

    Args:
        annotations (str | Path): A COCO json with outlines as polygons; crowds and masks in other forms are left out.
        folder (str | Path): The folder of its images.
        size (float): Area of a pasted object as a share of the image. Defaults to 0.1.
        most (int): Objects that are read, evenly spread over all. Defaults to 200.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If no object is outlined by polygons and at least 32 px wide and high, the file is no such json, or
            a photo is of another size than it states.
    """

    def __init__(self, annotations: str | Path, folder: str | Path, size: float = 0.1, most: int = 200) -> None:
        self.size = size
        outlined = list(_outlined(Path(annotations), Path(folder)))
        count = min(most, len(outlined))
        chosen = [outlined[index * len(outlined) // count] for index in range(count)]
        cuts = [_cut_out(*each, annotations) for each in chosen]
        self.objects = [(image, mask) for image, mask in cuts if mask.any()]
        if not self.objects:
            raise ValueError(
                f'{annotations} must outline objects by polygons, at least {_SMALLEST} px wide and high, but none of '
                'its annotations does'
            )

    def paste(
        self, images: Tensor, share: float, pixels: Pixels, first: int = 0, seed: int = 0
    ) -> tuple[Tensor, list[float]]:
        """Hide at least a share of each image; a larger share adds objects to those of a smaller one.

        Args:
            images (Tensor): Consecutive images of the data, as a network sees them, ``(B, 3, H, W)``; never modified.
            share (float): The share, in (0, 1).
            pixels (Pixels): How pixels become what it sees.
            first (int): Place of the first image in the data. Defaults to 0.
            seed (int): Other seeds paste other objects. Defaults to 0.

        Returns:
            tuple[Tensor, list[float]]: The images, and the share that is hidden of each.
        """
        if not 0 < share < 1:
            raise ValueError(f'ratio must be in (0, 1), but got {share}')
        height, width = images.shape[-2:]
        pasted, shares = [], []
        for index in range(len(images)):
            canvas = np.zeros((height, width, 3), np.uint8)
            hidden = np.zeros((height, width), bool)
            for cut in islice(self._cuts(first + index, seed, height, width), 1000):
                _paste(canvas, hidden, *cut)
                if hidden.mean() >= share:
                    break
            seen = pixels.seen(torch.from_numpy(canvas).permute(2, 0, 1)).to(images)
            pasted.append(torch.where(torch.from_numpy(hidden).to(images.device), seen, images[index]))
            shares.append(float(hidden.mean()))
        return torch.stack(pasted), shares

    def _cuts(self, place: int, seed: int, height: int, width: int) -> Iterator[tuple]:
        """Yield objects for the image of a place, each with its outline and where its upper left corner comes."""
        draw = np.random.default_rng(derive_seed('objects', seed, place))
        while True:
            image, mask = self.objects[draw.integers(len(self.objects))]
            zoom = (self.size * height * width / mask.sum()) ** 0.5
            size = [max(1, round(zoom * side)) for side in mask.shape[::-1]]
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
            mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
            if draw.random() < 0.5:
                image, mask = image[:, ::-1], mask[:, ::-1]
            yield image, mask, int(draw.integers(height)) - size[1] // 2, int(draw.integers(width)) - size[0] // 2


def _outlined(annotations: Path, folder: Path) -> Iterator[tuple[Path, dict, list[np.ndarray]]]:
    """Yield the objects that are outlined by polygons and large enough: photo, its record, and the polygons."""
    try:
        data = json.loads(annotations.read_text())
        images = {image['id']: image for image in data['images']}
        records = list(data['annotations'])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f'{annotations} must be COCO annotations, with images and annotations, but reading it fails: '
            f'{type(error).__name__}: {error}'
        ) from error
    for place, record in enumerate(records):
        outlines = record.get('segmentation')
        if not isinstance(outlines, list) or not any(outlines):  # a box alone, a crowd, or nothing
            continue
        try:
            image = images[record['image_id']]
            polygons = [np.array(each, float).reshape(-1, 2) for each in outlines if each]
            photo = folder / image['file_name']
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f'annotation {record.get("id", place)} of {annotations} must have the image_id of one of its images '
                f'and polygons as lists of x and y, but reading it fails: {type(error).__name__}: {error}'
            ) from error
        corners = np.concatenate(polygons)
        if np.isfinite(corners).all() and np.ptp(corners, 0).min() >= _SMALLEST:
            yield photo, image, polygons


def _cut_out(
    file: Path, record: dict, polygons: Sequence[np.ndarray], annotations: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels around an object, ``(h, w, 3)``, and which of them are the object's, bool ``(h, w)``."""
    image = cv2.imread(str(file))
    if image is None:
        raise FileNotFoundError(f'objects are cut out of photos, but there is none to read at {file}')
    height, width = image.shape[:2]
    stated = record.get('height', height), record.get('width', width)
    if stated != (height, width):
        raise ValueError(
            f'{file} must be of the size that {annotations} states, {stated[1]} x {stated[0]} px, for its outlines to '
            f'fit, but is of {width} x {height} px'
        )
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [polygon.round().astype(np.int32)], 1)
    corners = np.concatenate(polygons)
    (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
    box = np.s_[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    return image[box], mask[box].astype(bool)


def _paste(canvas: np.ndarray, hidden: np.ndarray, image: np.ndarray, mask: np.ndarray, top: int, left: int) -> None:
    """Paste an object; what lies outside of the canvas is cut off."""
    height, width = hidden.shape
    image = image[max(-top, 0) : height - top, max(-left, 0) : width - left]
    mask = mask[max(-top, 0) : height - top, max(-left, 0) : width - left]
    place = np.s_[max(top, 0) : max(top, 0) + mask.shape[0], max(left, 0) : max(left, 0) + mask.shape[1]]
    canvas[place][mask] = image[mask]
    hidden[place] |= mask
