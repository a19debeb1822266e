# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Images that are nearly the same, found by their thumbnails, and a split that keeps them on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

#: Side of a thumbnail in pixels.
SIDE = 16
#: Two images are near-duplicates within this distance of their centred thumbnails, one minus their cosine; where chance
#: brings others as near, within a half of it, a quarter, ...
ALIKE = 0.08 / 2.0 ** np.arange(7)
#: The share of pairs that may be as near by chance.
CHANCE = 0.1
#: The share of each class that goes to the validation.
VAL_SHARE = 0.2


def thumbnail(image: Image.Image) -> np.ndarray:
    """Make the thumbnail of an image: its colours without their mean, of length 1.

    Args:
        image (Image.Image): The image, just opened: a JPEG is decoded at a fraction of its size.

    Returns:
        np.ndarray: ``(768,)``; zeros of an image of one colour.

    Raises:
        OSError: If it cannot be decoded.
    """
    if image.format == 'JPEG':
        image.draft('RGB', (4 * SIDE, 4 * SIDE))
    small = image.convert('RGB').resize((SIDE, SIDE), Image.Resampling.BOX)
    vector = np.asarray(small, np.float32).reshape(-1, 3)
    vector = (vector - vector.mean(0)).ravel()
    return vector / max(float(np.linalg.norm(vector)), 1.0)


def find_pairs(one: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """Find images that are nearly the same, mirrored ones too.

    Small or simple images may be as near to each other as the copies of a photo are: digits, say. What is nearly the
    same follows from the set, see :func:`_limit`.

    Args:
        one (np.ndarray): Thumbnails ``(N, 768)``.
        other (np.ndarray, optional): Those to compare with, ``(M, 768)``. None compares the first with each other.

    Returns:
        np.ndarray: Pairs of indices, ``(P, 2)``.
    """
    own = other is None
    other = one if own else other
    mirrored = other.reshape(-1, SIDE, SIDE, 3)[:, :, ::-1].reshape(len(other), -1)
    pairs, distances = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    limits = np.array([4 * ALIKE[0], 2 * ALIKE[0], *ALIKE])
    counts = np.zeros(len(limits), np.int64)
    for start in range(0, len(one), 1024):
        block = one[start : start + 1024]
        near = 1 - np.maximum(block @ other.T, block @ mirrored.T)
        if own:  # each pair once
            near[np.arange(len(other)) <= np.arange(start, start + len(block))[:, None]] = 2
        counts += [np.count_nonzero(near < limit) for limit in limits]
        rows, cols = np.nonzero(near < ALIKE[0])
        pairs.append(np.stack([rows + start, cols], 1))
        distances.append(near[rows, cols])
    return np.concatenate(pairs)[np.concatenate(distances) < _limit(counts)]


def _limit(counts: np.ndarray) -> float:
    """Choose how near images must be to be no chance, by the number of pairs within each distance.

    Among images that have nothing to do with each other, a distance half as long holds ever fewer pairs, by a factor of
    2 at least, for they vary in many ways; those that are copies are near whatever the distance. So the pairs between
    one distance and its double, and those between that and its double, tell how many there are within it by chance.

    Args:
        counts (np.ndarray): Pairs within four times the first of :data:`ALIKE`, within twice it, and within each.

    Returns:
        float: The first of :data:`ALIKE` within which at most a share of :data:`CHANCE` is by chance, else the last.
    """
    shells = -np.diff(counts)
    for limit, outer, inner, within in zip(ALIKE, shells[:-1], shells[1:], counts[2:], strict=True):
        by_chance = inner / (max(outer / inner, 2) - 1) if inner else 0
        if by_chance <= CHANCE * within:
            return float(limit)
    return float(ALIKE[-1])


def find_groups(thumbnails: np.ndarray) -> list[list[int]]:
    """Put images that are nearly the same, directly or by way of others, into groups.

    Args:
        thumbnails (np.ndarray): ``(N, 768)``.

    Returns:
        list[list[int]]: Indices; most images are a group of their own.
    """
    first = list(range(len(thumbnails)))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = first[first[index]]
            index = first[index]
        return index

    for one, other in find_pairs(thumbnails).tolist():
        one, other = sorted((root(one), root(other)))
        first[other] = one
    groups: dict[int, list[int]] = {}
    for index in range(len(thumbnails)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def split(names: Sequence[str | Path], labels: Sequence[int], thumbnails: np.ndarray) -> list[bool]:
    """Choose what goes to the validation: of each class about a fifth, whole groups of near-duplicates.

    The groups are taken in the order of the hash of their first name, so the same files give the same split anywhere.

    Args:
        names (Sequence[str | Path]): Names of the images, relative to the data.
        labels (Sequence[int]): Their classes; all 0 where there are none.
        thumbnails (np.ndarray): Their thumbnails, ``(N, 768)``.

    Returns:
        list[bool]: Whether each goes to the validation. A class whose images are all nearly the same stays in the
        training.
    """
    groups = find_groups(thumbnails)
    groups.sort(key=lambda group: hashlib.sha1(str(names[group[0]]).encode()).hexdigest())
    total = np.bincount(labels)
    wanted = np.maximum(np.round(total * VAL_SHARE), 1)
    taken = np.zeros_like(total)
    in_val = [False] * len(names)
    for group in groups:
        counts = np.bincount([labels[index] for index in group], minlength=len(total))
        own = counts > 0
        if np.all((taken + counts)[own] <= wanted[own]):
            taken += counts
            for index in group:
                in_val[index] = True
    # A class whose every group is larger than its share gives the smallest of them, if another one is left.
    for label in np.flatnonzero((taken == 0) & (total > 0)):
        mine = [group for group in groups if any(labels[index] == label for index in group)]
        if len(mine) > 1:
            for index in min(mine, key=len):
                in_val[index] = True
    return in_val
