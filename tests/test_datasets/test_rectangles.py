# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import gc
import pickle

import numpy as np
import pytest
import torch

from mmmaskany.datasets.transforms import Rectangles, draw_rectangles, mask_image, rectangles, split_image
from mmmaskany.masking import (
    BlockPattern,
    ConstantFill,
    Draw,
    GridPattern,
    PatchPattern,
    RandomPattern,
    recompose,
)

#: Patterns of every way to place and copy: one rectangle, at regular and at other distances, by index, in general.
PATTERNS = {
    'patch': PatchPattern(scale=0.5, base=2),
    'patch-0.7': PatchPattern(scale=0.7, base=1),
    'grid': GridPattern(scale=0.5, cell=4, base=2),
    'grid-0.3': GridPattern(scale=0.3, cell=3, base=1),
    'grid-fixed': GridPattern(scale=0.5, cell=5, base=1, phase='fixed'),
    'grid-fixed-third': GridPattern(scale=1 / 3, cell=2, base=1, phase='fixed'),
    'random': RandomPattern(scale=0.5, cell=6, base=2),
    'random-0.3': RandomPattern(scale=0.3, cell=4),
    'block': BlockPattern(scale=0.5, cell=4),
}
WITHOUT_CANVAS = {
    'patch': PatchPattern(ratio=0.3, base=2),
    'grid': GridPattern(ratio=0.4, cell=4),
    'random': RandomPattern(ratio=0.6, cell=4),
    'block': BlockPattern(ratio=0.35, cell=4),
}
SIZES = [(32, 32), (48, 33), (37, 54), (29, 31)]


def make_image(height, width, channels=(3,), dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels)).astype(dtype)


def as_batch(image):
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def as_image(batch):
    return batch[0].permute(1, 2, 0).numpy()


def algebra(pattern, image, fill, seed):
    """Visible image and canvas as :mod:`mmmaskany.masking` makes them."""
    height, width = image.shape[:2]
    torch.manual_seed(seed)
    cells = pattern.cells(1, height, width)
    rows, cols = height // pattern.base, width // pattern.base
    draw = Draw.from_source(cells.source(pattern.canvas(height, width), cols), rows, cols, pattern.base)
    visible = ConstantFill(fill)(as_batch(image), draw.pixel_mask(height, width))
    return as_image(visible), as_image(recompose(as_batch(image), draw))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name', PATTERNS)
@pytest.mark.parametrize('fill', [0, [7, 8, 9]])
def test_result_is_that_of_the_masking_algebra(name, size, fill):
    image = make_image(*size)
    for seed in range(5):
        visible, canvas = algebra(PATTERNS[name], image, fill, seed)
        torch.manual_seed(seed)
        ours = split_image(image, draw_rectangles(PATTERNS[name], *size), fill)
        np.testing.assert_array_equal(ours[0], visible)
        np.testing.assert_array_equal(ours[1], canvas)


@pytest.mark.parametrize('name', WITHOUT_CANVAS)
def test_patterns_without_scale_mask_the_same_cells(name):
    image, pattern = make_image(40, 36), WITHOUT_CANVAS[name]
    torch.manual_seed(1)
    draw = pattern.draw(1, 40, 36)
    torch.manual_seed(1)
    visible, canvas = split_image(image, draw_rectangles(pattern, 40, 36), 5, recompose=False)
    assert canvas is None
    np.testing.assert_array_equal(visible, as_image(ConstantFill(5)(as_batch(image), draw.pixel_mask(40, 36))))


@pytest.mark.parametrize('pattern', [GridPattern(scale=0.5, cell=(4, 8)), RandomPattern(scale=0.5, cell=(4, 8))])
def test_one_of_several_cell_sizes_is_drawn(pattern):
    torch.manual_seed(0)
    draws = [draw_rectangles(pattern, 64, 48) for _ in range(300)]
    sizes = [(draw.height, draw.width) for draw in draws]
    options = 4 if isinstance(pattern, GridPattern) else 2  # a grid draws height and width independently
    assert len(set(sizes)) == options
    for size in set(sizes):
        assert abs(sizes.count(size) / 300 - 1 / options) < 0.1
    image = np.ones((64, 48, 1), np.uint8)
    for draw in draws[:20]:
        visible, canvas = split_image(image, draw)
        assert visible.sum() == 64 * 48 * 3 // 4 and canvas.shape == (32, 24, 1) and canvas.all()


def test_random_cells_are_uniform_and_exact_in_count():
    torch.manual_seed(0)
    pattern, total = RandomPattern(scale=0.5, cell=1, base=1), np.zeros((4, 4))
    for _ in range(2000):
        visible, _ = split_image(np.ones((4, 4)), draw_rectangles(pattern, 4, 4))
        assert visible.sum() == 12
        total += 1 - visible
    assert np.abs(total / 2000 - 0.25).max() < 0.04


def test_patches_are_everywhere():
    torch.manual_seed(0)
    pattern = PatchPattern(scale=0.5, base=2)
    corners = {draw_rectangles(pattern, 8, 12).corners for _ in range(300)}
    assert corners == {(top, left) for top in (0, 2, 4) for left in (0, 2, 4, 6)}


def test_a_subclass_places_its_own_cells():
    class Fixed(RandomPattern):
        def place(self, layout, largest, generator):
            return torch.tensor([[0, 0, 4, 8]]), torch.tensor([[0, 8, 4, 8]])

    rectangles = draw_rectangles(Fixed(scale=0.5, cell=4, base=1), 16, 16)
    assert rectangles.corners.tolist() == [[0, 8], [4 * 16 + 4, 8 * 16 + 8]]
    assert rectangles[1:] == (4, 4)


IMAGE = np.arange(1, 17).reshape(4, 4)


@pytest.mark.parametrize(
    ('rectangles', 'visible', 'canvas'),
    [
        (
            Rectangles((1, 2), 2, 1),
            [[1, 2, 3, 4], [5, 6, 0, 8], [9, 10, 0, 12], [13, 14, 15, 16]],
            [[7], [11]],
        ),
        (
            Rectangles((range(1, 4, 2), range(0, 4, 2)), 1, 1),
            [[1, 2, 3, 4], [0, 6, 0, 8], [9, 10, 11, 12], [0, 14, 0, 16]],
            [[5, 7], [13, 15]],
        ),
        (
            Rectangles(np.array([[2], [4], [9]]), 1, 2),
            [[1, 2, 0, 0], [0, 0, 7, 8], [9, 0, 0, 12], [13, 14, 15, 16]],
            [[3, 4], [5, 6], [10, 11]],
        ),
        (
            Rectangles(np.array([[1, 8]]), 2, 1),
            [[1, 0, 3, 4], [5, 0, 7, 8], [0, 10, 11, 12], [0, 14, 15, 16]],
            [[2, 9], [6, 13]],
        ),
    ],
)
@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.int64])
def test_by_hand(rectangles, visible, canvas, dtype):
    image = IMAGE.astype(dtype)
    out = split_image(image, rectangles)
    assert out[0].tolist() == visible and out[1].tolist() == canvas
    assert out[0].dtype == out[1].dtype == dtype
    np.testing.assert_array_equal(image, IMAGE)
    out = split_image(np.stack([image, 10 * image], -1), rectangles, fill=(0, 5), recompose=False)
    assert out[1] is None and out[0][..., 0].tolist() == visible
    np.testing.assert_array_equal(out[0][..., 1], np.where(np.array(visible) == 0, 5, 10 * np.array(visible)))


@pytest.mark.parametrize('rectangles', [Rectangles((1, 1), 2, 2), Rectangles((range(0, 4, 2), range(0, 4, 2)), 1, 1)])
def test_images_in_any_memory_layout(rectangles):
    image = make_image(4, 4)
    expected = split_image(image, rectangles)
    for view in (np.asfortranarray(image), image[:, :, ::-1][:, :, ::-1], np.flipud(np.flipud(image))):
        for ours, other in zip(expected, split_image(view, rectangles), strict=True):
            np.testing.assert_array_equal(ours, other)


def test_results_never_write_through_to_the_image():
    image = make_image(32, 32)
    kept = image.copy()
    image.setflags(write=False)  # as an image that is held in memory by its data set
    for pattern in PATTERNS.values():
        visible, canvas = split_image(image, draw_rectangles(pattern, 32, 32))
        visible[...] = 0
        if np.shares_memory(canvas, image):
            assert not canvas.flags.writeable
        else:
            canvas[...] = 0
    np.testing.assert_array_equal(image, kept)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match='must mask at least one cell and leave one'):
        draw_rectangles(PATTERNS['random'], 4, 64)


@pytest.mark.parametrize('kind', [PatchPattern, GridPattern, RandomPattern])
def test_what_was_prepared_follows_the_pattern(kind):
    """A worker's pattern may change, by a schedule or by anybody: what was prepared for it must not stay."""
    pattern = kind(scale=0.5, base=4) if kind is PatchPattern else kind(scale=0.5, cell=4, base=4)
    image = np.ones((32, 32, 1), np.uint8)

    def masked():
        return 1024 - int(split_image(image, draw_rectangles(pattern, 32, 32))[0].sum())

    assert masked() == masked() == 256
    pattern.share = 0.75
    assert masked() == 576
    pattern.scale = 0.25
    assert masked() == 64
    if kind is not PatchPattern:
        pattern.scale, pattern.cell = 0.5, (16,)
        assert draw_rectangles(pattern, 32, 32)[1:] == (16, 16)
    torch.manual_seed(0)
    other = kind(scale=0.5, base=4)
    expected = draw_rectangles(other, 64, 64)
    torch.manual_seed(0)
    assert str(draw_rectangles(other, 64, 64)) == str(expected)  # the second time from what was prepared
    for side in range(64, 400, 4):  # images of many sizes do not pile up
        draw_rectangles(other, side, side)
    assert len(rectangles._prepared[other]) <= 32


def test_what_was_prepared_goes_with_the_pattern():
    pattern = RandomPattern(scale=0.5, cell=4)
    draw_rectangles(pattern, 32, 32)
    before = len(rectangles._prepared)
    del pattern
    gc.collect()
    assert len(rectangles._prepared) < before
    again = pickle.loads(pickle.dumps(PATTERNS['random']))  # as a worker gets it that is not forked
    assert draw_rectangles(again, 32, 32).height == 6


def test_a_mask_with_holes_on_its_canvas():
    class Holes(RandomPattern):
        def draw(self, *args, **kwargs):
            draw = super().draw(*args, **kwargs)
            source = torch.full((1, 2, 3), -1)
            source[:, :, :2] = draw.source
            return Draw(draw.mask, draw.masked, draw.base, source)

    image = make_image(8, 8)
    torch.manual_seed(0)
    visible, canvas = mask_image(Holes(scale=0.5, cell=2, base=2), image, 3)
    torch.manual_seed(0)
    expected = mask_image(RandomPattern(scale=0.5, cell=2, base=2), image, 3)
    np.testing.assert_array_equal(visible, expected[0])
    np.testing.assert_array_equal(canvas[:, :4], expected[1][:, :4])
    assert canvas.shape == (4, 6, 3) and not canvas[:, 4:].any()
