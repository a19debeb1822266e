# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import math
from collections import Counter

import pytest
import torch
from generators import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from mmmaskany.masking import (
    BlockPattern,
    GridPattern,
    MixturePattern,
    NoisePattern,
    PatchPattern,
    RandomPattern,
    recompose,
)


def half_up(value):
    return math.floor(value + 0.5)


def same(a, b):
    sources = (a.source is None and b.source is None) or torch.equal(a.source, b.source)
    return sources and torch.equal(a.mask, b.mask) and torch.equal(a.masked, b.masked)


def assert_partition(draw):
    """Check sample by sample that the canvas shows each masked cell once and no other."""
    for mask, source in zip(draw.mask, draw.source, strict=True):
        shown = source[source >= 0]
        assert shown.sort().values.tolist() == mask.flatten().nonzero().flatten().tolist()


# --------------------------------------------------------------------------- by hand


def test_patch_by_hand():
    draw = PatchPattern(scale=0.5, base=1).draw(400, 4, 4, seeded())
    # The corner at row i, column j of a 4 x 4 image: cells 4i + j, 4i + j + 1 above 4i + j + 4, 4i + j + 5.
    expected = {(4 * i + j, 4 * i + j + 1, 4 * i + j + 4, 4 * i + j + 5) for i in range(3) for j in range(3)}
    assert {tuple(source.flatten().tolist()) for source in draw.source} == expected
    assert_partition(draw)


def test_grid_by_hand():
    draw = GridPattern(scale=0.5, cell=1, base=1).draw(100, 4, 4, seeded())
    expected = {(0, 2, 8, 10), (1, 3, 9, 11), (4, 6, 12, 14), (5, 7, 13, 15)}
    assert {tuple(source.flatten().tolist()) for source in draw.source} == expected
    assert_partition(draw)


def test_random_by_hand():
    draw = RandomPattern(scale=0.5, cell=2, base=1).draw(100, 4, 4, seeded())
    # One of four cells of 2 x 2, whose own pixels lie in order.
    expected = {(0, 1, 4, 5), (2, 3, 6, 7), (8, 9, 12, 13), (10, 11, 14, 15)}
    assert {tuple(source.flatten().tolist()) for source in draw.source} == expected
    assert_partition(draw)


def test_random_canvas_keeps_the_order_of_the_image():
    draw = RandomPattern(scale=0.5, cell=1, base=1).draw(50, 6, 4, seeded())
    for mask, source in zip(draw.mask, draw.source, strict=True):
        assert source.shape == (3, 2)
        assert source.flatten().tolist() == mask.flatten().nonzero().flatten().tolist()


def test_grid_stitches_cells_row_major():
    draw = GridPattern(scale=0.5, cell=2, base=1).draw(64, 8, 8, seeded())
    for source in draw.source:
        first = source[0, 0].item()
        top, left = first // 8, first % 8
        assert top in (0, 2) and left in (0, 2)
        rows, cols = [top, top + 1, top + 4, top + 5], [left, left + 1, left + 4, left + 5]
        assert source.tolist() == [[8 * row + col for col in cols] for row in rows]


# --------------------------------------------------------------------------- invariants


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(6, 40),
    width=st.integers(6, 40),
    base=st.integers(1, 3),
    scale=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32 - 1),
)
def test_canvas_and_visible_part_the_image(make_any, height, width, base, scale, seed):
    pattern = make_any(base, scale=scale)
    try:
        draw = pattern.draw(5, height, width, seeded(seed))
    except ValueError as error:  # sizes that this scale cannot mask; asked for below
        assert 'must mask at least one cell and leave one' in str(error)
        return
    rows, cols = height // base, width // base
    assert draw.mask.shape == (5, rows, cols)
    assert draw.source.shape == (5, *pattern.canvas(height, width))
    assert draw.source.shape[1:] <= (rows, cols)
    assert draw.base == base
    assert_partition(draw)
    assert torch.equal(draw.masked, draw.mask.flatten(1).any(1))
    assert torch.equal(draw.mask.flatten(1).sum(1), (draw.source >= 0).flatten(1).sum(1))


@pytest.mark.parametrize('size', [(8, 8), (12, 18), (23, 17), (32, 9), (14, 14)])
@pytest.mark.parametrize('scale', [0.25, 0.3, 0.5, 0.61, 0.7])
def test_count_of_a_scale_is_exact(make_pattern, size, scale):
    pattern = make_pattern(scale=scale)
    draw = pattern.draw(40, *size, seeded())
    allowed = set()
    for h, w in pattern.cell_sizes():
        n, m = half_up(scale * (size[0] // h)), half_up(scale * (size[1] // w))
        allowed.add(n * h * m * w)
    assert set(draw.mask.flatten(1).sum(1).tolist()) == allowed


@pytest.mark.parametrize('size', [(8, 8), (12, 18), (23, 17), (32, 9), (14, 14)])
@pytest.mark.parametrize('ratio', [0.05, 0.1, 1 / 3, 0.5, 0.75, 0.9])
def test_count_of_a_ratio_is_exact(make_pattern, size, ratio):
    pattern = make_pattern(ratio=ratio)
    allowed = set()
    for h, w in pattern.cell_sizes():
        cells = (size[0] // h) * (size[1] // w)
        if not 0 < half_up(ratio * cells) < cells:
            with pytest.raises(ValueError, match=f'would mask {half_up(ratio * cells)}: take a larger image'):
                pattern.draw(40, *size)
            return
        allowed.add(half_up(ratio * cells) * h * w)
    draw = pattern.draw(40, *size, seeded())
    assert draw.source is None
    assert draw.masked.all()
    assert set(draw.mask.flatten(1).sum(1).tolist()) == allowed


def test_ratio_of_the_defaults_at_224():
    for pattern in (PatchPattern(0.5), GridPattern(0.5), RandomPattern(0.5), BlockPattern(0.5)):
        draw = pattern.draw(2, 224, 224)
        assert draw.mask.shape == (2, 56, 56)
        assert draw.source.shape == (2, 28, 28)
        assert draw.ratio.tolist() == [0.25, 0.25]


def test_a_canvas_is_full_but_for_smaller_ones(make_any):
    # 11 x 14: cells of 1, 2 and 3 make grids, and so canvases, of different sizes.
    pattern = make_any(scale=0.5)
    draw = pattern.draw(200, 11, 14, seeded())
    full = 0
    for source, masked in zip(draw.source, draw.masked.tolist(), strict=True):
        shown = source >= 0
        assert shown.any() == masked
        if masked:
            n, m = shown[:, 0].sum(), shown[0].sum()
            assert shown[:n, :m].all() and shown.sum() == n * m  # a rectangle at the top left
            full += (n, m) == source.shape
    assert full > 0
    if len(getattr(pattern, 'cell', [0])) == 1 and not isinstance(pattern, MixturePattern):
        assert full == 200


def test_what_does_not_divide_stays_visible(make_any):
    draw = make_any(base=4, scale=0.5).draw(20, 35, 42, seeded())
    assert draw.mask.shape == (20, 8, 10)
    pixels = draw.pixel_mask(35, 42)
    assert not pixels[:, :, 32:].any() and not pixels[:, :, :, 40:].any()


def test_cells_agree_with_the_draw(make_pattern):
    pattern = make_pattern(base=2, scale=0.5)
    cells = pattern.cells(30, 30, 44, seeded(3))
    draw = pattern.draw(30, 30, 44, seeded(3))
    assert torch.equal(cells.source(pattern.canvas(30, 44), 22), draw.source)
    for i in range(30):
        mask = torch.zeros(15, 22, dtype=torch.bool)
        height, width = cells.height[i].item(), cells.width[i].item()
        assert cells.count[i] == cells.rows[i] * cells.cols[i]
        corners = list(zip(cells.top[i].tolist(), cells.left[i].tolist(), strict=True))[: cells.count[i]]
        for top, left in corners:
            assert 0 <= top <= 15 - height and 0 <= left <= 22 - width
            assert not mask[top : top + height, left : left + width].any()
            mask[top : top + height, left : left + width] = True
        assert torch.equal(mask, draw.mask[i])


def test_an_empty_batch(make_any):
    draw = make_any(scale=0.5).draw(0, 12, 12)
    assert draw.mask.shape == (0, 12, 12) and draw.source.shape[0] == 0


@pytest.mark.parametrize('share', [dict(scale=0.5), dict(ratio=0.5)])
def test_share_may_change_between_draws(make_any, share):
    pattern, name = make_any(**share), next(iter(share))
    pattern.draw(2, 24, 24)
    pattern.share = 0.3
    assert same(pattern.draw(20, 24, 24, seeded()), make_any(**{name: 0.3}).draw(20, 24, 24, seeded()))
    assert pattern.canvas(24, 24) == make_any(**{name: 0.3}).canvas(24, 24)
    for value in (0, 1, -0.5, 1.5):
        with pytest.raises(ValueError, match=rf'{name} must be in \(0, 1\), but got {value}'):
            pattern.share = value
    several = isinstance(pattern, MixturePattern) and name == 'ratio'
    assert pattern.share == ([0.3] * 4 if several else 0.3)


def test_masked_cells_are_those_of_every_draw(make_pattern):
    for share in (dict(scale=0.4), dict(ratio=0.6)):
        pattern = make_pattern(**share)
        counts = set(pattern.draw(60, 14, 11, seeded()).mask.flatten(1).sum(1).tolist())
        if len(counts) > 1:
            with pytest.raises(ValueError, match=r'as many cells must be masked in every image, but .* masks one of'):
                pattern.masked_cells(14, 11)
        else:
            assert {pattern.masked_cells(14, 11)} == counts


def test_masked_cells_of_a_mixture():
    patterns = [RandomPattern(ratio=0.5, cell=1, base=1), NoisePattern(ratio=0.5, cell=1, base=1)]
    assert MixturePattern(patterns, [0.7, 0.3]).masked_cells(6, 6) == 18
    with pytest.raises(ValueError, match=r'masks one of \[0, 18\] base cells.*probabilities that sum to 1'):
        MixturePattern(patterns, [0.7, 0.2]).masked_cells(6, 6)
    patterns[0] = RandomPattern(ratio=0.25, cell=1, base=1)
    with pytest.raises(ValueError, match=r'masks one of \[9, 18\] base cells'):
        MixturePattern(patterns, [0.7, 0.3]).masked_cells(6, 6)


# --------------------------------------------------------------------------- random numbers


@pytest.mark.parametrize('share', ['scale', 'ratio'])
def test_a_seed_gives_its_draw_again(make_any, share):
    pattern = make_any(**{share: 0.5})
    draw = pattern.draw(16, 24, 24, seeded(7))
    assert same(draw, pattern.draw(16, 24, 24, seeded(7)))
    assert same(draw, make_any(**{share: 0.5}).draw(16, 24, 24, seeded(7)))
    assert not same(draw, pattern.draw(16, 24, 24, seeded(8)))
    generator = seeded(7)
    assert same(draw, pattern.draw(16, 24, 24, generator))
    assert not same(draw, pattern.draw(16, 24, 24, generator))


def test_the_global_seed_is_used_without_a_generator(make_any):
    pattern = make_any(scale=0.5)
    torch.manual_seed(5)
    draw = pattern.draw(16, 24, 24)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert same(draw, pattern.draw(16, 24, 24))
    assert torch.equal(after, torch.rand(1))
    assert not same(draw, pattern.draw(16, 24, 24))
    assert same(draw, pattern.draw(16, 24, 24, seeded(5)))


def test_a_generator_leaves_the_global_one_alone(make_any):
    state = torch.get_rng_state()
    make_any(scale=0.5).draw(4, 24, 24, seeded())
    assert torch.equal(state, torch.get_rng_state())


def test_samples_of_a_batch_differ(make_any):
    draw = make_any(scale=0.5).draw(32, 24, 24, seeded())
    assert len(draw.mask.unique(dim=0)) >= 4  # as many phases as the coarsest grid has


def test_nothing_depends_on_data(make_any):
    # Fake tensors refuse whatever would have to look at a value on the CPU: item(), nonzero(), masked_select() ...
    with FakeTensorMode():
        for share in ('scale', 'ratio'):
            draw = make_any(**{share: 0.5}).draw(4, 24, 36)
            assert draw.mask.shape == (4, 24, 36)


def test_device_of_a_draw(make_any):
    draw = make_any(scale=0.5).draw(2, 12, 12, device='meta')
    assert {draw.mask.device.type, draw.source.device.type, draw.masked.device.type} == {'meta'}


# --------------------------------------------------------------------------- each pattern


@pytest.mark.parametrize('share', [dict(scale=0.5), dict(ratio=0.3), dict(ratio=0.13), dict(ratio=0.275)])
@pytest.mark.parametrize('size', [(6, 9), (4, 4), (9, 5)])
def test_patch_positions_are_uniform(share, size):
    draw = PatchPattern(base=1, **share).draw(6000, *size, seeded())
    corners = Counter()
    for mask in draw.mask:
        rows, cols = (mask.any(dim).nonzero().flatten() for dim in (1, 0))
        assert rows.tolist() == list(range(rows[0], rows[-1] + 1))
        assert cols.tolist() == list(range(cols[0], cols[-1] + 1))
        inside = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        assert inside[:-1].all()  # a rectangle, but for the end of the last row of a ratio
        assert inside[-1].tolist() == sorted(inside[-1].tolist(), reverse=True)
        corners[rows[0].item(), cols[0].item()] += 1
    places = (size[0] - len(inside) + 1) * (size[1] - inside.shape[1] + 1)
    assert len(corners) == places
    mean = 6000 / places
    assert all(abs(number - mean) < 5 * math.sqrt(mean) for number in corners.values())
    assert draw.mask[:, 0].any() and draw.mask[:, -1].any()
    assert draw.mask[:, :, 0].any() and draw.mask[:, :, -1].any()


@pytest.mark.parametrize('scale', [0.2, 1 / 3, 0.5, 0.7])
@pytest.mark.parametrize('size', [(12, 12), (11, 7), (9, 16)])
def test_grid_is_evenly_strided_and_reaches_every_phase(scale, size):
    draw = GridPattern(scale=scale, cell=1, base=1).draw(1000, *size, seeded())
    for dim, length in ((2, size[0]), (1, size[1])):
        number = half_up(scale * length)
        lines = {tuple(line.nonzero().flatten().tolist()) for line in draw.mask.any(dim)}
        stride = length / number
        for line in lines:
            assert len(line) == number
            steps = [b - a for a, b in zip(line, line[1:], strict=False)]
            assert set(steps) <= {math.floor(stride), math.ceil(stride)}
        assert {line[0] for line in lines} == set(range(math.ceil(stride)))
        assert draw.mask.any(dim).any(0).all()
    for mask in draw.mask[:50]:  # every row with every column
        assert torch.equal(mask, mask.any(1)[:, None] & mask.any(0))


def test_grid_with_a_ratio_leaves_no_row_empty():
    # Half of 4 x 4: ceil(4 / sqrt 2) = 3 rows; 8 cells in rows of 3 fill two of them and two places of the third.
    draw = GridPattern(ratio=0.5, cell=1, base=1).draw(20, 4, 4, seeded())
    assert {tuple(sorted(mask.sum(1).tolist())) for mask in draw.mask} == {(0, 2, 3, 3)}
    # A third of 2 x 1 cells: ceil(2 / sqrt 3) = 2 rows would leave the second empty, and the lower cell never masked.
    draw = GridPattern(ratio=1 / 3, cell=1, base=1).draw(100, 2, 1, seeded())
    assert {tuple(mask.flatten().tolist()) for mask in draw.mask} == {(True, False), (False, True)}


def test_grid_draws_height_and_width_independently():
    pattern = GridPattern(scale=0.5, cell=[1, 2, 4], base=1)
    cells = pattern.cells(9000, 16, 16, seeded())
    sizes = Counter(zip(cells.height.tolist(), cells.width.tolist(), strict=True))
    assert set(sizes) == {(h, w) for h in (1, 2, 4) for w in (1, 2, 4)}
    assert all(abs(number - 1000) < 150 for number in sizes.values())


def test_random_cells_are_equally_likely():
    draw = RandomPattern(scale=0.5, cell=1, base=1).draw(8000, 6, 6, seeded())
    frequency = draw.mask.float().mean(0)
    assert (frequency - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / 8000)
    pairs = (draw.mask[:, 0, 0] & draw.mask[:, 3, 4]).float().mean().item()
    assert abs(pairs - 9 / 36 * 8 / 35) < 0.02  # without replacement


def test_cell_sizes_are_equally_likely():
    for make in (RandomPattern, BlockPattern):
        cells = make(scale=0.5, cell=[2, 4, 6], base=2).cells(6000, 48, 48, seeded())
        sizes = Counter(cells.height.tolist())
        assert set(sizes) == {1, 2, 3}
        assert all(abs(number - 2000) < 200 for number in sizes.values())
        assert torch.equal(cells.height, cells.width)


def neighbours(mask):
    """Return the mean number of masked neighbours, of 4, that a masked cell has."""
    mask = torch.nn.functional.pad(mask.float(), (1, 1, 1, 1))
    around = mask.roll(1, 1) + mask.roll(-1, 1) + mask.roll(1, 2) + mask.roll(-1, 2)
    return ((around * mask).sum() / mask.sum()).item()


def test_block_is_more_contiguous_than_random():
    for share in (dict(scale=0.5), dict(ratio=0.4), dict(ratio=0.75)):
        block = BlockPattern(cell=1, base=1, **share).draw(200, 14, 14, seeded())
        random = RandomPattern(cell=1, base=1, **share).draw(200, 14, 14, seeded())
        assert neighbours(block.mask) > neighbours(random.mask) + 0.7
        assert all(block.mask[:, i].any() and block.mask[:, :, i].any() for i in range(14))


def test_block_masks_its_first_rectangle():
    pattern = BlockPattern(ratio=0.5, cell=1, aspect=(0.5, 2), base=1)
    rows, cols, count = 12, 16, 96
    mask = pattern.draw(100, rows, cols, seeded(2)).mask
    # The rectangles as the pattern draws them; sides and centres in cells, cells inside if their centre is.
    share, slant, y, x = torch.rand(100, 32, generator=seeded(2))[:, ::8].T
    area = (0.2 + 0.8 * share) * count
    aspect = 0.5 * 4**slant
    height = (area * aspect).sqrt().clamp(max=rows)
    width = (area / aspect).sqrt().clamp(max=cols)
    fitted = 0
    for i in range(100):
        top, left = (y * (rows - height))[i], (x * (cols - width))[i]
        row, col = torch.arange(rows) + 0.5, torch.arange(cols) + 0.5
        inside = ((row > top) & (row < top + height[i]))[:, None] & ((col > left) & (col < left + width[i]))
        if inside.sum() <= count:
            assert mask[i][inside].all()
            fitted += 1
        else:
            assert not mask[i][~inside].any()
    assert fitted > 80


def test_block_aspect_is_height_by_width():
    def extent(aspect):
        pattern = BlockPattern(ratio=0.05, cell=1, aspect=aspect, base=1)
        pattern.num_blocks = 1
        mask = pattern.draw(200, 40, 40, seeded()).mask
        return mask.any(2).sum(1).float().mean() / mask.any(1).sum(1).float().mean()

    assert extent((4, 4)) > 2.5
    assert extent((0.25, 0.25)) < 0.4
    assert 0.8 < extent((1, 1)) < 1.25


def energies(mask):
    """Return the mean power of masks of 32 x 32 cells at low, middle and high radial frequencies; white noise has 1."""
    mask = mask.float() - mask.float().mean((1, 2), keepdim=True)
    power = torch.fft.fft2(mask).abs().square().mean(0) / mask.square().sum((1, 2)).mean()
    frequency = torch.fft.fftfreq(32)
    radius = (frequency[:, None].square() + frequency.square()).sqrt()
    bands = (0.02, 0.1), (0.15, 0.3), (0.45, 0.75)
    return [power[(radius > low) & (radius < high)].mean().item() for low, high in bands]


@pytest.mark.parametrize('ratio', [0.25, 0.5, 0.8])
def test_noise_has_the_spectrum_of_its_color(ratio):
    low, middle, high = energies(RandomPattern(ratio=ratio, cell=1, base=1).draw(100, 32, 32, seeded()).mask)
    assert 0.9 < low < 1.1 and 0.95 < middle < 1.05 and 0.95 < high < 1.05
    bands = {
        color: energies(NoisePattern(ratio=ratio, cell=1, color=color, base=1).draw(100, 32, 32, seeded()).mask)
        for color in ('red', 'blue', 'green', 'purple')
    }
    low, middle, high = bands['red']  # low-pass
    assert low > 4 and low > 2 * middle and middle > 3 * high
    low, middle, high = bands['blue']  # high-pass
    assert low < 0.8 and low < middle < 0.9 and high > 1.1
    low, middle, high = bands['green']  # band-pass
    assert middle > 1.4 and low < 0.75 * middle and high < 0.5 * middle
    low, middle, high = bands['purple']  # band-stop
    assert middle < 0.7 and low > 1.4 * middle and high > 1.8 * middle


def test_sigma_is_the_size_of_what_noise_masks():
    def contiguous(color, sigma):
        pattern = NoisePattern(ratio=0.5, cell=1, color=color, sigma=sigma, base=1)
        return neighbours(pattern.draw(50, 32, 32, seeded()).mask)

    assert contiguous('red', 4.0) > contiguous('red', 2.0) + 0.1 > contiguous('red', 1.0) + 0.3
    assert contiguous('green', (1.5, 3)) > contiguous('green', (0.5, 1)) + 0.4
    # A low-pass that lets everything pass masks cells alone: of four neighbours, two.
    assert contiguous('red', 0.01) == pytest.approx(1.9, abs=0.15)


@pytest.mark.parametrize('color', ['red', 'blue', 'green', 'purple'])
def test_noise_masks_every_cell_as_often(color):
    mask = NoisePattern(ratio=0.25, cell=1, color=color, base=1).draw(4000, 8, 8, seeded()).mask.float()
    assert (mask.mean(0) - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / 4000)
    # The filter does not wrap around: opposite sides are no neighbours.
    centred = (mask - mask.mean(0)).flatten(2)
    beside, across = ((centred[:, 0] * centred[:, row]).mean().item() for row in (1, 7))
    assert abs(across) < 0.15 * 3 / 16 and (color in ('blue', 'purple') or beside > 0.1 * 3 / 16)


def test_noise_cell_sizes_have_their_own_noise():
    # What is smooth for large cells is as smooth, in cells, for small ones.
    pattern = NoisePattern(ratio=0.5, cell=[1, 2], color='red', base=1)
    cells = pattern.cells(400, 32, 32, seeded())
    mask = pattern.draw(400, 32, 32, seeded()).mask
    small, large = mask[cells.height == 1], mask[cells.height == 2]
    assert len(small) > 150 and len(large) > 150
    assert torch.equal(large, large[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert neighbours(large[:, ::2, ::2]) == pytest.approx(neighbours(small), abs=0.2)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(color='pink'), r"one of \['red', 'blue', 'green', 'purple'\], but got 'pink'"),
        (dict(color='red', sigma=0), 'must be a positive number for red noise, but got 0'),
        (dict(color='blue', sigma=(1, 2)), r'must be a positive number for blue noise, but got \(1, 2\)'),
        (dict(color='green', sigma=1.0), 'must be an increasing pair of positive numbers for green noise, but got 1.0'),
        (dict(color='purple', sigma=(2, 1)), 'must be an increasing pair'),
        (dict(color='green', sigma=(1, 1)), 'must be an increasing pair'),
        (dict(color='green', sigma=(0, 1)), 'must be an increasing pair'),
    ],
)
def test_noise_errors(args, message):
    with pytest.raises(ValueError, match=message):
        NoisePattern(ratio=0.5, **args)


# --------------------------------------------------------------------------- mixture


def kind(mask):
    """Tell which pattern of the test below masked 8 x 8 cells: by the first row and column of the mask."""
    rows, cols = (mask.any(dim).nonzero().flatten() for dim in (1, 0))
    if len(rows) == 0:
        return 'none'
    if rows[-1] - rows[0] == 3 and cols[-1] - cols[0] == 3:
        return 'patch'
    if len(rows) == 4 and len(cols) == 4:
        return 'grid'
    return 'random'


def test_mixture_probabilities():
    patterns = [
        PatchPattern(scale=0.5, base=1),
        GridPattern(scale=0.5, cell=1, base=1),
        RandomPattern(scale=0.5, cell=1, base=1),
    ]
    draw = MixturePattern(patterns, probs=[0.3, 0.2, 0.1]).draw(5000, 8, 8, seeded())
    kinds = Counter(kind(mask) for mask in draw.mask)
    for name, prob in dict(patch=0.3, grid=0.2, random=0.1, none=0.4).items():
        assert abs(kinds[name] / 5000 - prob) < 5 * math.sqrt(prob * (1 - prob) / 5000)
    assert torch.equal(draw.masked, draw.mask.flatten(1).any(1))
    assert (draw.source[~draw.masked] == -1).all()
    assert_partition(draw)


@pytest.mark.parametrize('probs', [[0, 1], [1, 0], [1 / 3, 2 / 3], [0.1, 0.9]])
def test_mixture_that_masks_every_sample(probs):
    patterns = [PatchPattern(scale=0.5, base=1), RandomPattern(scale=0.5, cell=1, base=1)]
    draw = MixturePattern(patterns, probs).draw(2000, 8, 8, seeded())
    assert draw.masked.all()
    patches = sum(kind(mask) == 'patch' for mask in draw.mask) / 2000
    assert abs(patches - probs[0]) <= 0.05 * (0 < probs[0] < 1)


def test_mixture_of_nothing():
    draw = MixturePattern([PatchPattern(scale=0.5, base=1)], [0]).draw(50, 8, 8)
    assert not draw.masked.any() and not draw.mask.any() and (draw.source == -1).all()


def test_mixture_of_one_pattern_is_its_probability():
    draw = MixturePattern([GridPattern(scale=0.5, cell=1, base=1)], [0.25]).draw(4000, 8, 8, seeded())
    assert abs(draw.masked.float().mean().item() - 0.25) < 0.04


def test_mixture_without_reuse():
    patterns = [PatchPattern(ratio=0.2, base=1), RandomPattern(ratio=0.6, cell=1, base=1)]
    draw = MixturePattern(patterns, [0.5, 0.5]).draw(100, 10, 10, seeded())
    assert draw.source is None
    assert set(draw.mask.flatten(1).sum(1).tolist()) == {20, 60}


def test_mixture_canvas_is_the_largest():
    patterns = [RandomPattern(scale=0.5, cell=4, base=1), PatchPattern(scale=0.5, base=1)]
    mixture = MixturePattern(patterns, [0.5, 0.5])
    # Cells of 4 in 10 x 15 pixels: half_up(0.5 * 2) x half_up(0.5 * 3) of them; the patch 5 x half_up(7.5).
    assert patterns[0].canvas(10, 15) == (4, 8)
    assert patterns[1].canvas(10, 15) == (5, 8)
    assert mixture.canvas(10, 15) == (5, 8)
    draw = mixture.draw(50, 10, 15, seeded())
    assert {(source >= 0).sum().item() for source in draw.source} == {32, 40}


def test_pick():
    patch, grid = PatchPattern(scale=0.5), GridPattern(scale=0.5)
    mixture = MixturePattern([patch, grid], [0.5, 0.2])
    generator = seeded()
    picks = Counter(mixture.pick(generator) for _ in range(3000))
    for pattern, prob in ((patch, 0.5), (grid, 0.2), (None, 0.3)):
        assert abs(picks[pattern] / 3000 - prob) < 0.05
    assert set(picks) == {patch, grid, None}
    assert patch.pick(generator) is patch
    assert mixture.pick(seeded(3)) is mixture.pick(seeded(3))


# --------------------------------------------------------------------------- errors


@pytest.mark.parametrize('make', [PatchPattern, GridPattern, RandomPattern, BlockPattern])
@pytest.mark.parametrize(
    'share, message',
    [
        (dict(), 'either `scale` or `ratio`, but got scale=None and ratio=None'),
        (dict(scale=0.5, ratio=0.5), 'either `scale` or `ratio`, but got scale=0.5 and ratio=0.5'),
        (dict(scale=0), r'scale must be in \(0, 1\), but got 0'),
        (dict(scale=1), r'scale must be in \(0, 1\), but got 1'),
        (dict(scale=1.5), r'scale must be in \(0, 1\), but got 1.5'),
        (dict(scale=math.nan), r'scale must be in \(0, 1\), but got nan'),
        (dict(ratio=-0.1), r'ratio must be in \(0, 1\), but got -0.1'),
        (dict(ratio=1.0), r'ratio must be in \(0, 1\), but got 1.0'),
    ],
)
def test_share_is_checked(make, share, message):
    with pytest.raises(ValueError, match=message):
        make(**share)


@pytest.mark.parametrize('make', [GridPattern, RandomPattern, BlockPattern])
@pytest.mark.parametrize(
    'sizes, error, message',
    [
        (dict(cell=6), ValueError, 'cell sizes must be positive multiples of base=4 px, but got 6'),
        (dict(cell=[8, 6]), ValueError, r'multiples of base=4 px, but got \[8, 6\]'),
        (dict(cell=0), ValueError, 'positive multiples of base=4 px, but got 0'),
        (dict(cell=[]), ValueError, r'positive multiples of base=4 px, but got \[\]'),
        (dict(cell=8, base=0), ValueError, 'positive multiples of base=0 px, but got 8'),
        (dict(cell=8, base=-4), ValueError, 'positive multiples of base=-4 px, but got 8'),
        (dict(cell=8.0), TypeError, 'must be whole numbers of pixels, but got 8.0'),
        (dict(cell=[8, 4.0]), TypeError, 'must be whole numbers of pixels, but got 4.0'),
        (dict(cell=8, base=2.0), TypeError, 'must be whole numbers of pixels, but got 2.0'),
    ],
)
def test_cell_is_checked(make, sizes, error, message):
    with pytest.raises(error, match=message):
        make(scale=0.5, **sizes)


@pytest.mark.parametrize('aspect', [(3, 1), (0, 1), (-1, 1), (1, 2, 3)])
def test_aspect_is_checked(aspect):
    with pytest.raises(ValueError, match='aspect must be an increasing pair of positive numbers, but got'):
        BlockPattern(scale=0.5, aspect=aspect)


@pytest.mark.parametrize(
    'pattern, size, message',
    [
        (RandomPattern(scale=0.5), (224, 15), '224 x 12 px .* hold 14 x 0 cells of 16 x 16 px, .* would mask 0'),
        (RandomPattern(scale=0.5), (3, 3), '0 x 0 px that base cells of 4 px cover hold 0 x 0 cells'),
        (GridPattern(scale=0.2, cell=8), (16, 16), 'GridPattern with scale=0.2 .* 2 x 2 cells .* would mask 0'),
        (PatchPattern(scale=0.9), (16, 16), 'PatchPattern with scale=0.9 .* 4 x 4 cells .* would mask 16'),
        (PatchPattern(ratio=0.01), (16, 16), 'PatchPattern with ratio=0.01 .* 4 x 4 cells .* would mask 0'),
        (BlockPattern(ratio=0.9), (33, 34), 'BlockPattern with ratio=0.9 .* 2 x 2 cells .* would mask 4'),
    ],
)
def test_too_small_an_image_is_refused(pattern, size, message):
    with pytest.raises(ValueError, match=f'{message}.*take a larger image or smaller cells'):
        pattern.draw(2, *size)


def test_one_size_that_does_not_fit_is_refused_whatever_is_drawn():
    for _ in range(20):
        with pytest.raises(ValueError, match='0 x 0 cells of 16 x 16 px'):
            RandomPattern(scale=0.5, cell=[4, 16]).draw(1, 12, 12)


@pytest.mark.parametrize(
    'probs, message',
    [
        ([0.5], r'one probability per pattern, but got 2 patterns and probs=\[0.5\]'),
        ([0.5, 0.6], r'must be >= 0 and sum to at most 1, but got \[0.5, 0.6\]'),
        ([0.5, -0.1], r'must be >= 0 and sum to at most 1, but got \[0.5, -0.1\]'),
        ([0.5, math.nan], r'must be >= 0 and sum to at most 1, but got \[0.5, nan\]'),
    ],
)
def test_probabilities_are_checked(probs, message):
    with pytest.raises(ValueError, match=message):
        MixturePattern([PatchPattern(scale=0.5), GridPattern(scale=0.5)], probs)


def test_patterns_of_a_mixture_are_checked():
    with pytest.raises(ValueError, match='one probability per pattern, but got 0 patterns'):
        MixturePattern([], [])
    with pytest.raises(ValueError, match='must share one scale, but got .*0.25'):
        MixturePattern([PatchPattern(scale=0.5), GridPattern(scale=0.25)], [0.5, 0.5])
    with pytest.raises(ValueError, match='must share one scale, but got .*None'):
        MixturePattern([PatchPattern(scale=0.5), GridPattern(ratio=0.25)], [0.5, 0.5])
    with pytest.raises(ValueError, match='must share one base, but got'):
        MixturePattern([PatchPattern(scale=0.5), GridPattern(scale=0.5, base=2)], [0.5, 0.5])
    inner = MixturePattern([PatchPattern(scale=0.5)], [0.5])
    with pytest.raises(TypeError, match='must be Patterns, but got MixturePattern'):
        MixturePattern([inner], [0.5])
    with pytest.raises(TypeError, match='must be Patterns, but got dict'):
        MixturePattern([dict(type='PatchPattern')], [0.5])


def test_repr_says_how_it_was_made():
    assert repr(GridPattern(scale=0.5, cell=[4, 8])) == 'GridPattern(scale=0.5, cell=[4, 8], base=4)'
    assert repr(PatchPattern(ratio=0.3)) == 'PatchPattern(ratio=0.3, cell=[4], base=4)'
    mixture = MixturePattern([PatchPattern(0.5)], [0.1])
    assert repr(mixture) == 'MixturePattern([PatchPattern(scale=0.5, cell=[4], base=4)], probs=[0.1])'


def test_grid_of_a_fixed_phase_by_hand():
    """Cells of 2 x 3 px at every second place from the corner on, as far as they fit in 7 x 8 px."""
    pattern = GridPattern(scale=0.5, cell=[2, 3], base=1, phase='fixed')
    layouts = {(layout.height, layout.width): layout for layout in pattern.layouts(7, 8)}
    tall = layouts[2, 3]
    assert (tall.grid_rows, tall.grid_cols, tall.rows, tall.cols, tall.count) == (3, 2, 2, 1, 2)
    pattern = GridPattern(scale=0.5, cell=2, base=1, phase='fixed')
    expected = torch.zeros(7, 8, dtype=torch.bool)
    for row in (0, 4):
        for col in (0, 4):
            expected[row : row + 2, col : col + 2] = True
    for _ in range(3):
        draw = pattern.draw(2, 7, 8)
        assert torch.equal(draw.mask, expected.expand(2, -1, -1))
        image = torch.arange(56.0).view(1, 1, 7, 8).expand(2, -1, -1, -1)
        assert torch.equal(recompose(image, draw)[0, 0], image[0, 0][[0, 1, 4, 5]][:, [0, 1, 4, 5]])
    third = GridPattern(scale=1 / 3, cell=1, base=1, phase='fixed').draw(1, 4, 4).mask[0]
    assert third.nonzero().tolist() == [[0, 0], [0, 3], [3, 0], [3, 3]]


def test_grid_of_the_reference_masks_its_share():
    """Cells of 4 to 16 px a side at 32 px, all of them: 22.65 % on average, 11.8 to 39.1 %, always the corner."""
    pattern = GridPattern(scale=0.5, cell=range(4, 17), base=1, phase='fixed')
    layouts = pattern.layouts(32, 32)
    shares = [100 * layout.count * layout.height * layout.width / 32**2 for layout in layouts]
    assert len(shares) == 13**2
    assert (round(min(shares), 1), round(max(shares), 1)) == (11.8, 39.1)
    assert sum(shares) / len(shares) == pytest.approx(22.65, abs=0.005)
    draw = pattern.draw(400, 32, 32, torch.Generator().manual_seed(0))
    assert draw.mask[:, :4, :4].all()
    assert 100 * draw.mask.float().mean() == pytest.approx(22.65, abs=1.5)
    # Some pixels are never masked, whatever the cells: 12 % of them.
    ever = torch.zeros(32, 32, dtype=torch.bool)
    for layout in layouts:
        rows = torch.arange(32) // layout.height
        cols = torch.arange(32) // layout.width
        rows = (rows % 2 == 0) & (rows < 2 * layout.rows)
        cols = (cols % 2 == 0) & (cols < 2 * layout.cols)
        ever |= rows[:, None] & cols
    assert float((~ever).float().mean()) == pytest.approx(0.12, abs=0.005)


def test_grid_of_a_fixed_phase_on_an_image_hardly_larger_than_a_cell():
    """The one cell that fits is masked, as long as pixels beside it stay."""
    pattern = GridPattern(scale=0.5, cell=4, base=1, phase='fixed')
    mask = pattern.draw(1, 5, 7).mask[0]
    assert mask[:4, :4].all() and mask.sum() == 16
    for size in ((4, 4), (3, 9)):  # all of it, or nothing
        with pytest.raises(ValueError, match='must mask at least one cell and leave one'):
            pattern.draw(1, *size)


@pytest.mark.parametrize('share', [dict(ratio=0.25), dict(scale=0.4), dict(scale=0.75)])
def test_a_fixed_phase_needs_a_whole_stride(share):
    with pytest.raises(ValueError, match=r"phase='fixed'.*so the scale must be 1/2, 1/3, 1/4.*or phase='random'"):
        GridPattern(**share, phase='fixed')
    pattern = GridPattern(scale=0.5, phase='fixed')
    pattern.share = 0.4  # as a schedule would
    with pytest.raises(ValueError, match='but got scale=0.4'):
        pattern.draw(1, 64, 64)
    with pytest.raises(ValueError, match="phase must be 'random' or 'fixed', but got 'none'"):
        GridPattern(scale=0.5, phase='none')
