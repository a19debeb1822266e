# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import runpy
from pathlib import Path

import numpy as np
import pytest

from mmmaskany.datasets.transforms import Rectangles, split_image

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/benchmark_transforms.py'


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(TOOL))


def test_the_loops_do_what_they_are_compared_for(tool):
    image = np.random.default_rng(0).integers(1, 256, (16, 16, 3), dtype=np.uint8)
    kept = image.copy()
    numbers = iter([0.5, 0.0])
    by_loop = tool['loop_patch'](image, lambda: next(numbers), 0.5)
    for ours, loop in zip(split_image(image, Rectangles((4, 0), 8, 8)), by_loop, strict=True):
        np.testing.assert_array_equal(ours, loop)
    by_loop = tool['loop_grid'](image, None, 4)
    for ours, loop in zip(split_image(image, Rectangles((range(0, 16, 8),) * 2, 4, 4)), by_loop, strict=True):
        np.testing.assert_array_equal(ours, loop)
    # The cells 1, 6, 11 and 12 of 4 x 4.
    numbers = iter([0.0 if cell in (1, 6, 11, 12) else 0.9 for cell in range(16)])
    by_loop = tool['loop_random'](image, lambda: next(numbers), 4)
    corners = np.array([[4, 4 * 16 + 8], [8 * 16 + 12, 12 * 16]])
    for ours, loop in zip(split_image(image, Rectangles(corners, 4, 4)), by_loop, strict=True):
        np.testing.assert_array_equal(ours, loop)
    np.testing.assert_array_equal(image, kept)


def test_table_and_coarse_speed(tool, capsys):
    tool['main'](['--repeats', '5', '--number', '20'])
    lines = capsys.readouterr().out.splitlines()[-6:]
    assert [line[:24].strip() for line in lines] == [case[0] for case in tool['CASES']]
    ratios = {line[:24].strip(): float(line[44:52]) for line in lines}
    # Half of what is measured and more, so that a busy machine does not matter.
    assert ratios['grid, 4 px cells'] > 6 and ratios['random, 16 x 16 cells'] > 6
