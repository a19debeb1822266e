# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Shares of objects that stay visible, counted pixel by pixel, and draws that spare objects."""

import time

import pytest
import torch

from mmmaskany.masking import (
    Draw,
    GridPattern,
    ObjectPolicy,
    PatchPattern,
    RandomPattern,
    recompose,
    spare,
    visible_boxes,
    visible_masks,
)


def random_boxes(images, count, side, generator):
    corner = torch.rand(images, count, 2, generator=generator) * side * 0.8
    size = torch.rand(images, count, 2, generator=generator) * side * 0.4 + 1
    return list(torch.cat([corner, corner + size], 2).round())


def pixels(boxes, height, width):
    """Return the pixels of boxes with whole corners, bool ``(N, H, W)``."""
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.long().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    return masks


@pytest.mark.parametrize(
    'pattern',
    [
        PatchPattern(scale=0.5),
        RandomPattern(ratio=0.4, cell=12, base=3),
        GridPattern(scale=0.5, cell=[4, 8]),
        RandomPattern(ratio=0.5, cell=16, base=16),
    ],
    ids=str,
)
def test_shares_are_those_of_the_pixels(pattern):
    generator = torch.Generator().manual_seed(0)
    height, width = 70, 90  # no whole number of cells: the rest is visible
    draw = pattern.draw(3, height, width, generator)
    boxes = [each.clamp(max=70) for each in random_boxes(3, 20, 90, generator)]
    boxes[1] = boxes[1][:7]
    hidden = draw.pixel_mask(height, width)
    found, by_masks = visible_boxes(draw, boxes), []
    for image, each in enumerate(boxes):
        masks = pixels(each, height, width)
        by_masks.append(masks)
        area = masks.flatten(1).sum(1)
        expected = 1 - (masks & hidden[image]).flatten(1).sum(1) / area
        expected[area == 0] = 1
        torch.testing.assert_close(found[image], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(visible_masks(draw, by_masks), found, rtol=0, atol=1e-6)


def test_shares_of_boxes_between_pixels_by_hand():
    # One masked cell of 4 px, from 4 to 8 in both directions.
    mask = torch.zeros(1, 3, 3, dtype=torch.bool)
    mask[0, 1, 1] = True
    draw = Draw.from_mask(mask, 4)
    boxes = torch.tensor(
        [
            [4.0, 4.0, 8.0, 8.0],  # the cell
            [2.0, 4.0, 6.0, 8.0],  # half of it is in the cell
            [4.5, 4.25, 5.0, 5.0],  # inside
            [7.5, 7.5, 8.5, 8.5],  # a quarter
            [-4.0, 0.0, 12.0, 20.0],  # beyond the image: 16 of 320
            [3.0, 3.0, 3.0, 9.0],  # nothing
            [9.0, 0.0, 30.0, 4.0],
        ]
    )
    (share,) = visible_boxes(draw, [boxes])
    torch.testing.assert_close(share, torch.tensor([0, 0.5, 0, 0.75, 0.95, 1, 1]))


def test_masks_need_not_be_padded_and_may_be_empty():
    draw = Draw.from_mask(torch.ones(1, 4, 4, dtype=torch.bool), 4)
    masks = torch.zeros(2, 10, 13, dtype=torch.bool)
    masks[0, 5:] = True
    assert visible_masks(draw, [masks])[0].tolist() == [0, 1]
    assert [each.shape for each in visible_boxes(draw, [torch.zeros(0, 4)])] == [(0,)]


def test_sums_of_large_images_are_exact():
    draw = Draw.from_mask(torch.ones(1, 2000, 2000, dtype=torch.bool), 1)
    draw.mask[0, -1, -1] = False
    boxes = torch.tensor([[1998.0, 1998.0, 2000.0, 2000.0], [1999.0, 1999.0, 2000.0, 2000.0]])
    assert visible_boxes(draw, [boxes])[0].tolist() == [0.25, 1]


def test_shares_of_a_batch_take_no_time():
    generator = torch.Generator().manual_seed(0)
    draw, boxes = RandomPattern(ratio=0.5, cell=16).draw(64, 224, 224), random_boxes(64, 100, 224, generator)
    best = float('inf')
    for _ in range(30):
        start = time.process_time()
        visible_boxes(draw, boxes)
        best = min(best, time.process_time() - start)
    assert best < 0.01  # 2 ms on a core of its own


# ---------------------------------------------------------------------- spared objects


@pytest.mark.parametrize('by', ['boxes', 'masks'])
@pytest.mark.parametrize('min_visible', [0.3, 0.6, 1.0])
def test_no_object_loses_more_than_it_may_and_the_count_stays(by, min_visible):
    generator = torch.Generator().manual_seed(0)
    draw = RandomPattern(ratio=0.5, cell=16).draw(4, 96, 128, generator)
    boxes = random_boxes(4, 6, 60, generator)
    boxes = [each.clamp(max=96)[:count] for each, count in zip(boxes, (6, 3, 1, 0), strict=True)]
    objects = boxes if by == 'boxes' else [pixels(each, 96, 128) for each in boxes]
    new = spare(draw, objects, min_visible, generator=generator)
    for share in visible_boxes(new, boxes):
        assert (share > min_visible - 1e-5).all()
    # There is place enough beside these objects.
    assert torch.equal(new.ratio, draw.ratio)
    before = visible_boxes(draw, boxes)
    for index, share in enumerate(before):
        same = torch.equal(new.mask[index], draw.mask[index])
        assert same == bool((share >= min_visible - 1e-6).all())
        # Whole cells, of which those that are uncovered have something of an object.
        cells = new.mask[index].view(6, 4, 8, 4).float().mean((1, 3))
        assert set(cells.unique().tolist()) == {0, 1}
        uncovered = (draw.mask & ~new.mask)[index].nonzero() // 4 * 16
        inside = pixels(boxes[index], 96, 128).any(0)
        assert all(inside[row : row + 16, col : col + 16].any() for row, col in uncovered.tolist())
    assert any((share < min_visible).any() for share in before)


def test_small_objects_are_left_alone():
    draw = Draw.from_mask(torch.ones(1, 8, 8, dtype=torch.bool), 4)
    draw.mask[0, 0] = False
    boxes = torch.tensor([[5.0, 9.0, 14.0, 17.0], [0.0, 8.0, 32.0, 32.0]])
    new = spare(draw, [boxes], min_visible=0.1, min_area=10 * 10)
    shares = visible_boxes(new, [boxes])[0]
    assert shares[0] == 1 and shares[1] >= 0.1
    assert new.mask.sum() == draw.mask.sum() - 9 + 8  # 3 x 3 cells, in place of which there are 8


def test_where_there_is_no_place_the_share_is_reported():
    draw = RandomPattern(ratio=0.75, cell=4).draw(2, 32, 32)
    whole = [torch.tensor([[0.0, 0.0, 32.0, 32.0]])] * 2
    new = spare(draw, whole, min_visible=0.5)
    assert new.ratio.tolist() == [0.5, 0.5]
    torch.testing.assert_close(torch.cat(visible_boxes(new, whole)), torch.tensor([0.5, 0.5]))
    # One object on top of another that has something to spare: as many cells as before.
    two = [torch.tensor([[0.0, 0.0, 32.0, 32.0], [0.0, 0.0, 16.0, 16.0]])] * 2
    draw = RandomPattern(ratio=0.5, cell=4).draw(2, 32, 32, torch.Generator().manual_seed(0))
    new = spare(draw, two, min_visible=0.45, min_area=300)
    assert new.ratio.tolist() == [0.5, 0.5] and not new.mask[:, :4, :4].any()


def test_what_lacks_is_masked_in_smaller_cells():
    # Whole cells of 16 px have no place beside the object, only some of their quarters have.
    draw = Draw.from_mask(torch.tensor([[[True, False], [False, False]]]), 16).refine(4, 32, 32)
    boxes = [torch.tensor([[0.0, 0.0, 32.0, 28.0], [0.0, 0.0, 4.0, 32.0]])]
    new = spare(draw, boxes, min_visible=0.99)
    # 7 cells of 4 px beside both, and 8 px of 896: not one cell more.
    assert new.mask.sum() == 7 and new.mask[0, 7, 1:].all()


def test_the_canvas_shows_what_is_masked():
    draw = RandomPattern(scale=0.5, cell=8).draw(3, 32, 32, torch.Generator().manual_seed(1))
    boxes = [torch.tensor([[0.0, 0.0, 32.0, 16.0]]), torch.tensor([[0.0, 0.0, 32.0, 32.0]]), torch.zeros(0, 4)]
    new = spare(draw, boxes, min_visible=0.99)
    images = torch.rand(3, 1, 32, 32) + 1
    canvas = recompose(images, new)
    for index in range(3):
        seen = canvas[index][canvas[index] > 0]
        masked = images[index][new.pixel_mask(32, 32)[index]]
        assert torch.equal(seen.sort().values, masked.sort().values)
    assert torch.equal(new.source[2], draw.source[2])
    assert new.ratio.tolist() == [0.25, 0, 0.25] and new.masked.tolist() == [True, False, True]
    assert torch.equal(draw.mask.sum((1, 2)), torch.tensor([16, 16, 16]))  # itself it is as it was


def test_a_draw_that_spares_all_is_itself():
    draw = PatchPattern(scale=0.5).draw(2, 32, 32)
    assert spare(draw, [torch.zeros(0, 4)] * 2, 0.5) is draw
    assert ObjectPolicy('drop').correct(draw, [torch.tensor([[0.0, 0, 32, 32]])] * 2) is draw


@pytest.mark.parametrize(
    ('args', 'match'),
    [
        (dict(policy='lose'), r"policy must be one of \('keep', 'ignore', 'drop', 'spare'\), but got 'lose'"),
        (dict(min_visible=0), r'min_visible must be in \(0, 1\], but got 0'),
        (dict(min_visible=1.5), r'min_visible must be in \(0, 1\], but got 1.5'),
        (dict(policy='spare', min_area=-1), 'min_area must not be negative, but got -1'),
        (dict(policy='drop', min_area=9), "min_area is for the policy 'spare' alone, but got 9 with 'drop'"),
        (dict(by='points'), "by must be 'boxes' or 'masks', but got 'points'"),
    ],
)
def test_bad_policies(args, match):
    with pytest.raises(ValueError, match=match):
        ObjectPolicy(**args)


def test_bad_objects():
    draw = PatchPattern(scale=0.5).draw(2, 32, 32)
    with pytest.raises(ValueError, match='objects for each of 2 images, but got 1'):
        visible_boxes(draw, [torch.zeros(1, 4)])
    with pytest.raises(ValueError, match=r'of shape \(N, 4\), but got \(1, 5\)'):
        visible_boxes(draw, [torch.zeros(1, 5)] * 2)
    with pytest.raises(ValueError, match=r'of shape \(N, H, W\), but got \(1, 4\)'):
        visible_masks(draw, [torch.zeros(1, 4)] * 2)
