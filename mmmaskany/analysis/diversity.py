# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How diverse features are, how alike two sets of them, and how well they tell classes apart.

N = examples, D = features of each.
"""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(features: Tensor) -> float:
    """Count the directions that features spread over: the effective rank of the centred features.

    It is the exponential of the entropy of the singular values, normalised to a sum of 1: k equal ones give k, and
    small ones count little. Centring takes out the mean, which is no diversity and would be the largest of them.

    Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.

    Args:
        features (Tensor): ``(N, D)``.

    Returns:
        float: Between 1 and min(N - 1, D); 0 where all examples are alike.

    Raises:
        ValueError: If the features are no matrix, or are not finite.
    """
    values = torch.linalg.svdvals(_centred(features))
    total = values.sum()
    if total == 0:
        return 0.0
    return torch.special.entr(values / total).sum().exp().item()


def linear_cka(one: Tensor, other: Tensor) -> float:
    """Compare two sets of features of the same examples by linear centred kernel alignment.

    It does not change where either set is rotated, shifted, or scaled as a whole, and the sets may differ in D.

    Source: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019, arXiv 1905.00414,
    section 3.

    Args:
        one (Tensor): ``(N, D)``.
        other (Tensor): ``(N, E)``.

    Returns:
        float: Between 0, for sets without any linear relation, and 1, for the same set up to the above. Few examples
        of many features look alike by chance: N should be several times D and E. 0 where all examples of a set are
        alike.

    Raises:
        ValueError: If the sets are no matrices of as many examples, or are not finite.
    """
    one, other = _centred(one), _centred(other)
    if len(one) != len(other):
        raise ValueError(f'both sets must be of the same examples, but got {len(one)} and {len(other)}')
    norm = torch.linalg.norm(one.T @ one) * torch.linalg.norm(other.T @ other)
    if norm == 0:
        return 0.0
    return (torch.linalg.norm(one.T @ other).square() / norm).item()


def fisher_ratio(features: Tensor, labels: Tensor) -> float:
    """Compare the scatter between classes with that within them: ``trace(S_B) / trace(S_W)``.

    ``S_B`` is the scatter of the class means around the mean of all examples, each as often as its class has examples;
    ``S_W`` that of the examples around the mean of their class. It does not change where features are rotated, shifted,
    or scaled as a whole.

    Source: Fukunaga, "Introduction to Statistical Pattern Recognition", 2nd edition, section 10.2, criterion J4.

    Args:
        features (Tensor): ``(N, D)``.
        labels (Tensor): Class of each example, long ``(N,)``.

    Returns:
        float: 0 where all classes have the same mean; infinite where the examples of each class are all alike.

    Raises:
        ValueError: If the features are no matrix or not finite, labels are not one per example, or all of one class.
    """
    features = _centred(features)
    classes, counts, sums = _classes(features, labels)
    means = sums / counts[:, None]
    between = (counts[:, None] * means.square()).sum()
    within = (features - means[classes]).square().sum()
    return (between / within).item()


def centroid_accuracy(features: Tensor, labels: Tensor) -> float:
    """Classify each example by the nearest of the class means, without letting it count in its own.

    Args:
        features (Tensor): ``(N, D)``.
        labels (Tensor): Class of each example, long ``(N,)``. An example that is alone in its class is wrong, for
            without it there is no mean.

    Returns:
        float: Share of the examples whose nearest mean, by Euclidean distance, is that of their class.

    Raises:
        ValueError: If the features are no matrix or not finite, labels are not one per example, or all of one class.
    """
    features = _centred(features)
    classes, counts, sums = _classes(features, labels)
    means = sums / counts[:, None]
    # By explicit differences where a matrix product would round off what is small beside the norms.
    distances = torch.cdist(features, means, compute_mode='donot_use_mm_for_euclid_dist')
    others = (counts - 1)[classes, None]
    own = torch.linalg.vector_norm(features - (sums[classes] - features) / others, dim=1)
    distances[torch.arange(len(features)), classes] = torch.where(others[:, 0] > 0, own, torch.inf)
    return (distances.argmin(1) == classes).double().mean().item()


def _centred(features: Tensor) -> Tensor:
    """Return features in double precision with a mean of 0."""
    if features.dim() != 2 or len(features) < 2:
        raise ValueError(
            f'features must be a matrix (N, D) of at least two examples, but got shape {tuple(features.shape)}'
        )
    features = features.double()
    if not features.isfinite().all():
        raise ValueError('features must be finite numbers, but some are not')
    return features - features.mean(0)


def _classes(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the class of each example as an index, the examples of each class and the sum of their features."""
    if labels.shape != features.shape[:1]:
        raise ValueError(f'there must be one label per example, {len(features)}, but got shape {tuple(labels.shape)}')
    names, classes = labels.unique(return_inverse=True)
    if len(names) < 2:
        raise ValueError(f'the examples must be of two classes or more, but all are of {names.tolist()}')
    counts = classes.bincount().double()
    sums = features.new_zeros(len(names), features.shape[1]).index_add_(0, classes, features)
    return classes, counts, sums
