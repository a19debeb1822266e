# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest

from mmmaskany.analysis.named_patterns import NAMED_PATTERNS, masked_share, pattern_cfg
from mmmaskany.models.algebra import build_pattern


def test_cells_suit_the_image():
    assert pattern_cfg('grid', 32, scale=0.5) == dict(type='mmmaskany.GridPattern', scale=0.5, cell=4, base=1)
    assert pattern_cfg('random', 224, ratio=0.3) == dict(type='mmmaskany.RandomPattern', ratio=0.3, cell=28, base=4)
    assert pattern_cfg('random', 224, cell=6, ratio=0.3)['base'] == 3  # the largest up to 4 that divides the cell
    assert pattern_cfg('patch', 64, cell=16, scale=0.5) == dict(type='mmmaskany.PatchPattern', scale=0.5, base=1)
    red = pattern_cfg('red-noise', 96, scale=0.5)
    assert red == dict(type='mmmaskany.NoisePattern', scale=0.5, color='red', cell=12, base=1)
    with pytest.raises(ValueError, match=r"a pattern must be one of \['patch', .*, but got 'nope'"):
        pattern_cfg('nope', 32, scale=0.5)


@pytest.mark.parametrize('name', NAMED_PATTERNS)
def test_the_share_is_what_is_masked(name):
    for share, side in ((dict(scale=0.5), 33), (dict(ratio=0.3), 130)):  # base cells of 1 and 2 px
        pattern = build_pattern(pattern_cfg(name, side, **share))
        drawn = pattern.draw(3, side, side).pixel_mask(side, side).float().mean((1, 2, 3))
        assert drawn.tolist() == pytest.approx([masked_share(pattern, side, side)] * 3)


def test_everything_or_nothing_is_refused():
    pattern = build_pattern(pattern_cfg('grid', 32, scale=0.99))
    with pytest.raises(ValueError, match='must mask at least one cell and leave one'):
        masked_share(pattern, 32, 32)
