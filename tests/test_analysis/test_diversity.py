# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import math

import pytest
import torch

from mmmaskany.analysis.diversity import centroid_accuracy, effective_rank, fisher_ratio, linear_cka


def rotation(size, seed=0):
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double())[0]


def with_spectrum(values, examples=40):
    """Centred features with these singular values."""
    left = torch.linalg.qr(torch.cat([torch.ones(examples, 1), torch.randn(examples, len(values))], 1).double())[0]
    return left[:, 1:] @ torch.diag(torch.tensor(values).double()) @ rotation(len(values)).T


# ---------------------------------------------------------------------- effective rank


def test_rank_of_known_spectra():
    torch.manual_seed(0)
    assert effective_rank(with_spectrum([3.0] * 5)) == pytest.approx(5)
    assert effective_rank(with_spectrum([2.0, 0, 0, 0])) == pytest.approx(1)
    # Half, a quarter, a quarter: an entropy of 1.5 log 2.
    assert effective_rank(with_spectrum([2.0, 1.0, 1.0])) == pytest.approx(2**1.5)


def test_rank_changes_neither_by_scale_nor_rotation_nor_mean():
    torch.manual_seed(0)
    features = with_spectrum([5.0, 3.0, 1.0, 0.5])
    rank = effective_rank(features)
    assert 1 < rank < 4
    assert effective_rank(7 * features @ rotation(4, seed=1) + torch.tensor([100.0, 0, -3, 9])) == pytest.approx(rank)
    assert effective_rank(torch.full((6, 3), 2.0)) == 0
    # Four examples, seen from their mean, lie in three dimensions.
    assert effective_rank(torch.randn(4, 50)) <= 3


# ---------------------------------------------------------------------- CKA


def test_cka_by_hand():
    one = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    other = torch.tensor([[1.0], [-1], [0], [0]])
    # X'X = 2 I, of norm 2 sqrt 2; Y'Y = 2; X'Y = (2, 0): 4 / (4 sqrt 2).
    assert linear_cka(one, other) == pytest.approx(1 / math.sqrt(2))
    assert linear_cka(one[:, :1], one[:, 1:]) == 0
    assert linear_cka(one, torch.full((4, 3), 5.0)) == 0


def test_cka_of_the_same_features_is_one_whatever_rotation_shift_and_scale():
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)
    assert linear_cka(features, features) == pytest.approx(1)
    assert linear_cka(features, 0.01 * features.double() @ rotation(6) + 3) == pytest.approx(1)
    # Other than a rotation, stretching the features apart is a difference.
    assert linear_cka(features, features * torch.tensor([1, 1, 1, 1, 1, 20])) < 0.95


def test_cka_of_independent_features_is_near_zero():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(4000, size, generator=generator) for size in (8, 5))
    assert linear_cka(one, other) < 0.005
    # Few examples of many features look alike by chance.
    one, other = torch.randn(2, 10, 500, generator=generator)
    assert linear_cka(one, other) > 0.7


# ---------------------------------------------------------------------- classes


def test_class_separability_by_hand():
    features = torch.tensor([[0.0, 1], [2, 1], [6, 1], [8, 1]])
    labels = torch.tensor([3, 3, 7, 7])
    # Means 1 and 7 around 4: between 2 * 9 + 2 * 9, within 4 * 1.
    assert fisher_ratio(features, labels) == pytest.approx(9)
    assert fisher_ratio(100 * features.double() @ rotation(2), labels) == pytest.approx(9)
    assert centroid_accuracy(features, labels) == 1
    assert fisher_ratio(features, torch.tensor([0, 1, 1, 0])) == 0


def test_an_example_does_not_count_in_its_own_mean():
    # The 10 lies at 6 from its class's mean of 4, which it is part of, and at 7 from the other's; without it at 9.
    features = torch.tensor([[1.0], [1], [10], [17], [17]])
    labels = torch.tensor([0, 0, 0, 1, 1])
    assert centroid_accuracy(features, labels) == pytest.approx(4 / 5)
    # What is alone in its class has no mean to be near to.
    assert centroid_accuracy(torch.tensor([[0.0], [0], [9]]), torch.tensor([0, 0, 1])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: effective_rank(torch.zeros(3)), r'must be a matrix \(N, D\).*but got shape \(3,\)'),
        (lambda: effective_rank(torch.tensor([[1.0], [math.nan]])), 'must be finite'),
        (lambda: linear_cka(torch.zeros(3, 1), torch.zeros(4, 1)), 'of the same examples, but got 3 and 4'),
        (lambda: fisher_ratio(torch.zeros(3, 1), torch.tensor([0, 1])), r'one label per example, 3, but got .*\(2,\)'),
        (lambda: centroid_accuracy(torch.zeros(2, 1), torch.tensor([4, 4])), r'two classes or more.* \[4\]'),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
