# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from scipy import stats

from mmmaskany.analysis.paired import holm, paired_difference


def test_where_seeds_or_images_alone_vary_it_is_students_interval():
    draw = np.random.default_rng(0)
    images = draw.normal(1, 2, 40)
    found = paired_difference(np.tile(images, (3, 1)), np.zeros((3, 40)))
    half = stats.t.ppf(0.975, 39) * images.std(ddof=1) / 40**0.5
    assert found == pytest.approx((images.mean(), half, stats.ttest_1samp(images, 0).pvalue))
    seeds = draw.normal(1, 2, 4)
    found = paired_difference(np.zeros((4, 9)), -np.tile(seeds[:, None], 9))
    half = stats.t.ppf(0.975, 3) * seeds.std(ddof=1) / 2
    assert found == pytest.approx((seeds.mean(), half, stats.ttest_1samp(seeds, 0).pvalue))
    assert paired_difference(np.ones((2, 2)), np.ones((2, 2))) == (0, 0, 1)


@pytest.mark.parametrize(('seeds', 'of_seeds', 'of_images'), [(3, 0.05, 0.5), (5, 0.2, 0.0), (4, 0.0, 1.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, of_seeds, of_images):
    draw, hits, trials = np.random.default_rng(1), 0, 600
    for _ in range(trials):
        gaps = 0.3 + draw.normal(0, of_seeds, (seeds, 1)) + draw.normal(0, of_images, 120)
        gaps = gaps + draw.normal(0, 0.5, gaps.shape)
        mean, half, _ = paired_difference(gaps, np.zeros_like(gaps))
        hits += abs(mean - 0.3) <= half
    assert 0.93 <= hits / trials <= 0.995


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_other_seeds_cannot_be_compared():
    with pytest.raises(ValueError, match=r'same seeds and images.*got \(2, 5\), \(3, 5\)'):
        paired_difference(np.zeros((2, 5)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match='2 at least'):
        paired_difference(np.zeros((1, 5)), np.zeros((1, 5)))
