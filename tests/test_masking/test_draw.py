# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import dataclasses

import pytest
import torch

from mmmaskany.masking import Cells, Draw
from mmmaskany.masking.draw import packed_channels, to_pixels


def test_source_of_cells_by_hand():
    # Sample 0: two rectangles of 1 x 2 base cells, one below the other. Sample 1: three of 1 x 1 in rows of two.
    cells = Cells(
        top=torch.tensor([[0, 3, 9], [1, 2, 3]]),
        left=torch.tensor([[1, 2, 9], [0, 3, 1]]),
        height=torch.tensor([1, 1]),
        width=torch.tensor([2, 1]),
        rows=torch.tensor([2, 2]),
        cols=torch.tensor([1, 2]),
        count=torch.tensor([2, 3]),
    )
    source = cells.source(canvas=(2, 3), cols=4)
    assert source.dtype == torch.long
    assert source.tolist() == [
        [[1, 2, -1], [14, 15, -1]],  # (0, 1), (0, 2) above (3, 2), (3, 3)
        [[4, 11, -1], [13, -1, -1]],  # (1, 0), (2, 3) above (3, 1); the fourth does not exist
    ]


def test_source_of_a_large_rectangle_by_hand():
    one = torch.tensor([1])
    cells = Cells(torch.tensor([[1]]), torch.tensor([[2]]), 2 * one, 3 * one, one, one, one)
    assert cells.source(canvas=(2, 3), cols=5).tolist() == [[[7, 8, 9], [12, 13, 14]]]


def test_from_source_by_hand():
    source = torch.tensor([[[5, 0], [3, -1]], [[-1, -1], [-1, 1]]])
    draw = Draw.from_source(source, rows=2, cols=3, base=4)
    assert draw.mask.dtype == torch.bool
    assert draw.mask.int().tolist() == [[[1, 0, 0], [1, 0, 1]], [[0, 1, 0], [0, 0, 0]]]
    assert draw.masked.tolist() == [True, True]
    assert draw.source is source
    assert draw.ratio.tolist() == [0.5, pytest.approx(1 / 6)]
    assert Draw.from_source(source, 2, 3, 4, reuse=False).source is None


def test_draw_is_frozen():
    draw = Draw.from_source(torch.tensor([[[0]]]), 1, 2, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        draw.base = 2


def test_to_pixels_by_hand():
    cells = torch.tensor([[[True, False], [False, True]]])
    assert to_pixels(cells, 2).int().tolist() == [[[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]]]
    assert torch.equal(to_pixels(cells, 1), cells[:, None])
    assert torch.equal(to_pixels(cells, 3, channels=2), to_pixels(cells, 3).expand(-1, 2, -1, -1))


def test_pixel_mask_leaves_what_does_not_divide():
    draw = Draw(torch.tensor([[[True, False], [True, True]]]), torch.ones(1, dtype=torch.bool), base=2)
    # 5 x 6 pixels hold 2 x 3 cells of 2 pixels; 5 x 5 hold 2 x 2, and the last row and column stay visible.
    assert draw.pixel_mask(5, 5).int().tolist() == [
        [[[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]]
    ]
    assert torch.equal(draw.pixel_mask(5, 5, channels=3), draw.pixel_mask(5, 5).expand(-1, 3, -1, -1))
    assert draw.pixel_mask(5, 5, channels=3).is_contiguous(memory_format=torch.channels_last)
    assert draw.pixel_mask(4, 4).is_contiguous()


def test_pixel_mask_refuses_another_size():
    draw = Draw(torch.ones(1, 2, 2, dtype=torch.bool), torch.ones(1, dtype=torch.bool), base=2)
    with pytest.raises(ValueError, match='made for images of 2 x 2 cells of 2 px, but got images of 6 x 4 px'):
        draw.pixel_mask(6, 4)


@pytest.mark.parametrize('shape', [(2, 3, 4, 4), (1, 3, 6, 4), (1, 3, 4, 3)])
def test_check_refuses_other_images(shape):
    draw = Draw(torch.ones(1, 2, 2, dtype=torch.bool), torch.ones(1, dtype=torch.bool), base=2)
    draw.check(torch.zeros(1, 3, 5, 4))
    with pytest.raises(ValueError, match=rf'made for 1 images of 2 x 2 cells of 2 px, but got .*\({shape[0]}, 3'):
        draw.check(torch.zeros(shape))


def test_packed_channels():
    images = torch.zeros(2, 3, 4, 5)
    assert packed_channels(images) == 1
    assert packed_channels(images.to(memory_format=torch.channels_last)) == 3
    assert packed_channels(torch.zeros(2, 1, 4, 5).to(memory_format=torch.channels_last)) == 1
    assert packed_channels(images[..., 1:]) == 1
