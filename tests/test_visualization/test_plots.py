# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import cv2
import pytest

from mmmaskany.visualization import COLORS, MARKERS, new_plot, save_figure


def line():
    figure, axes = new_plot('masked share (%)', 'top-1 (%)', size=(3, 2))
    axes.plot([0, 50], [90, 80], color=COLORS[0], marker=MARKERS[0], label='plain')
    axes.legend()
    return figure


def test_both_files_are_written_with_the_labels(tmp_path):
    files = save_figure(line(), tmp_path / 'new' / 'curve.png', dpi=100)
    assert [file.name for file in files] == ['curve.png', 'curve.svg']
    assert cv2.imread(str(files[0])).shape == (200, 300, 3)
    svg = files[1].read_text()
    assert svg.count('<!-- masked share (%) -->') == svg.count('<!-- top-1 (%) -->') == svg.count('<!-- plain -->') == 1
    assert sorted(file.name for file in files[0].parent.iterdir()) == ['curve.png', 'curve.svg']


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    first, second = (save_figure(line(), tmp_path / name) for name in ('a', 'b.svg'))
    assert [file.name for file in second] == ['b.png', 'b.svg']
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_a_point_in_the_name_is_kept_and_other_formats_are_refused(tmp_path):
    assert [file.name for file in save_figure(line(), tmp_path / 'v0.1')] == ['v0.1.png', 'v0.1.svg']
    with pytest.raises(ValueError, match=r'written as \.png and \.svg, but got .*a\.pdf'):
        save_figure(line(), tmp_path / 'a.pdf')


def test_every_colour_has_a_marker():
    assert len(set(COLORS)) == len(set(MARKERS)) == 8
