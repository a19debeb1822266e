# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from mmmaskany.visualization import COLORS, new_plot
from mmmaskany.visualization.curves import draw_curve, draw_level, new_panels


def test_a_curve_shows_means_spread_and_every_value():
    _, axes = new_plot('masked share (%)', 'top-1 (%)')
    draw_curve(axes, [50, 0], [[1.0, 3.0], [5.0, 5.0]], 'grid', 1)
    mean, points = axes.lines
    np.testing.assert_array_equal(mean.get_xydata(), [[0, 5], [50, 2]])  # in the order of the places
    assert mean.get_label() == 'grid' and mean.get_color() == COLORS[1]
    assert sorted(map(tuple, points.get_xydata())) == [(0, 5), (0, 5), (50, 1), (50, 3)]
    band = axes.collections[0].get_paths()[0].vertices
    at_50 = band[band[:, 0] == 50][:, 1]
    assert at_50.min() == pytest.approx(2 - 2**0.5) and at_50.max() == pytest.approx(2 + 2**0.5)
    assert set(band[band[:, 0] == 0][:, 1]) == {5.0}


def test_single_values_have_no_band():
    _, axes = new_plot('x', 'y')
    draw_curve(axes, [0, 1], [[1.0], [2.0]], 'grid', 0)
    draw_level(axes, [4.0], 'unmasked')
    assert len(axes.lines) == 2 and not axes.collections and not axes.patches
    assert list(axes.lines[1].get_ydata()) == [4.0, 4.0]
    draw_level(axes, [3.0, 5.0], 'unmasked')
    low, high = (axes.patches[0].get_y(), axes.patches[0].get_y() + axes.patches[0].get_height())
    assert (low, high) == pytest.approx((4 - 2**0.5, 4 + 2**0.5))
    with pytest.raises(ValueError, match="curve 'grid' must have a value at every place"):
        draw_curve(axes, [0, 1], [[1.0], []], 'grid', 0)


def test_panels_fill_the_rows():
    figure, panels = new_panels(['a', 'b', 'c'], columns=2, size=(2, 1))
    assert [axes.get_title() for axes in panels] == ['a', 'b', 'c']
    assert tuple(figure.get_size_inches()) == (4, 2)
    assert tuple(new_panels(['a'], columns=2, size=(2, 1))[0].get_size_inches()) == (2, 1)
