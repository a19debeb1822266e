# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Is a difference more than chance, of the seeds and of the test images?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Difference(NamedTuple):
    """A mean difference.

    Args:
        mean (float): The difference.
        half (float): Half of its 95 % interval.
        p (float): The probability of one at least as large by chance.
    """

    mean: float
    half: float
    p: float


def paired_difference(one: np.ndarray, other: np.ndarray) -> Difference:
    """Compare two methods, trained with the same seeds and tested on the same images.

    Other seeds and other images would both give another difference, so both count as chance: a two-way analysis of
    variance with random seeds and random images, an interval by Student's t with Satterthwaite's degrees of freedom.

    Source: Cornfield and Tukey, "Average Values of Mean Squares in Factorials", 1956; Satterthwaite, "An Approximate
    Distribution of Estimates of Variance Components", 1946.

    Args:
        one (np.ndarray): What the method scored, such as right or wrong, by seed and image, ``(S, N)``.
        other (np.ndarray): What the other one did, ``(S, N)``.

    Returns:
        Difference: One minus the other, in their unit.

    Raises:
        ValueError: If they are not of the same seeds and images, two of each at least.
    """
    if one.shape != other.shape or one.ndim != 2 or min(one.shape) < 2:
        raise ValueError(
            f'scores must be (S, N) of the same seeds and images, 2 at least, but got {one.shape}, {other.shape}'
        )
    gaps = one.astype(float) - other.astype(float)
    seeds, images = gaps.shape
    mean = gaps.mean()
    by_seed, by_image = gaps.mean(1, keepdims=True) - mean, gaps.mean(0, keepdims=True) - mean
    free = np.array([seeds - 1, images - 1, (seeds - 1) * (images - 1)])
    squares = np.array(
        [images * (by_seed**2).sum(), seeds * (by_image**2).sum(), ((gaps - mean - by_seed - by_image) ** 2).sum()]
    )
    of_seeds, of_images, rest = squares / free
    variance = of_seeds + of_images - rest
    if variance <= max(of_seeds, of_images):  # a part that is estimated as less than none
        largest = 0 if of_seeds > of_images else 1
        variance, freedom = max(of_seeds, of_images), free[largest]
    else:
        freedom = variance**2 / (np.array([of_seeds, of_images, rest]) ** 2 / free).sum()
    error = math.sqrt(variance / gaps.size)
    if error == 0:
        return Difference(float(mean), 0.0, 1.0 if mean == 0 else 0.0)
    p = 2 * stats.t.sf(abs(mean) / error, freedom)
    return Difference(float(mean), float(stats.t.ppf(0.975, freedom) * error), float(p))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct probabilities for how many comparisons were made.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Args:
        p_values (Sequence[float]): The probabilities.

    Returns:
        list[float]: The corrected ones, in their order; below 0.05 is more than chance, whichever was looked for.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected
