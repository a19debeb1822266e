# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest
import torch
from generators import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmaskany.masking import ConstantFill, Draw, GridPattern, PatchPattern, recompose, restore

DTYPES = [torch.float, torch.half, torch.bfloat16, torch.double, torch.uint8, torch.long, torch.bool]
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture
def draw():
    """A draw for two images of 4 x 6 pixels on a base grid of 2 x 3: two cells of the first, one of the second."""
    return Draw.from_source(torch.tensor([[[1, 5]], [[3, -1]]]), rows=2, cols=3, base=2)


def test_by_hand(draw):
    images = torch.arange(48).view(2, 1, 4, 6)
    assert recompose(images, draw).tolist() == [
        [[[2, 3, 16, 17], [8, 9, 22, 23]]],
        [[[36, 37, 0, 0], [42, 43, 0, 0]]],
    ]
    visible = ConstantFill(-1)(images, draw.pixel_mask(4, 6))
    assert visible[0, 0].tolist() == [
        [0, 1, -1, -1, 4, 5],
        [6, 7, -1, -1, 10, 11],
        [12, 13, 14, 15, -1, -1],
        [18, 19, 20, 21, -1, -1],
    ]
    assert torch.equal(restore(visible, recompose(images, draw), draw), images)


def test_patch_is_the_crop(make_images):
    images = make_images(6, 21, 30)
    draw = PatchPattern(scale=0.5, base=3).draw(6, 21, 30, seeded())
    canvas = recompose(images, draw)
    assert canvas.shape == (6, 3, 12, 15)
    for image, mask, crop in zip(images, draw.mask, canvas, strict=True):
        top, left = (3 * mask.any(dim).float().argmax() for dim in (1, 0))
        assert torch.equal(crop, image[:, top : top + 12, left : left + 15])


def test_a_grid_of_pixels_is_a_strided_slice(make_images):
    images = make_images(12, 8, 10)
    draw = GridPattern(scale=0.5, cell=1, base=1).draw(12, 8, 10, seeded())
    for image, mask, canvas in zip(images, draw.mask, recompose(images, draw), strict=True):
        top, left = (mask.any(dim).float().argmax() for dim in (1, 0))
        assert torch.equal(canvas, image[:, top::2, left::2])


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(12, 40),
    width=st.integers(12, 40),
    base=st.integers(1, 3),
    channels=st.integers(1, 4),
    scale=st.sampled_from([0.3, 0.5, 0.66]),
    memory_format=st.sampled_from(FORMATS),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_pixel_stands_in_one_view(
    make_any, make_images, height, width, base, channels, scale, memory_format, seed
):
    images = make_images(3, height, width, channels, torch.long, memory_format)
    pattern = make_any(base, scale=scale)
    try:
        draw = pattern.draw(3, height, width, seeded(seed))
    except ValueError as error:
        assert 'must mask at least one cell and leave one' in str(error)
        return
    visible = ConstantFill()(images, draw.pixel_mask(height, width))
    canvas = recompose(images, draw)
    both = torch.cat([visible.flatten(1), canvas.flatten(1)], 1).sort(1).values
    for sample, image in zip(both, images, strict=True):  # a pixel is its own number, and 0 is none
        assert torch.equal(sample[sample > 0], image.flatten().sort().values)
    assert torch.equal(restore(visible, canvas, draw), images)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('size', [(16, 16), (23, 34)])
def test_restore_is_exact(make_any, dtype, size, memory_format):
    base, (height, width) = 2, size
    images = torch.randn(8, 3, height, width, generator=seeded()).mul(100)
    images = images.to(dtype).contiguous(memory_format=memory_format)
    before = images.clone()
    draw = make_any(base, scale=0.5).draw(8, height, width, seeded(1))
    visible = torch.where(draw.pixel_mask(height, width), torch.zeros((), dtype=dtype), images)
    canvas = recompose(images, draw)
    kept = visible.clone(), canvas.clone()
    image = restore(visible, canvas, draw)
    assert torch.equal(image, before)
    for out in (canvas, image):
        assert out.dtype == dtype
        assert out.is_contiguous(memory_format=memory_format)
    assert torch.equal(images, before) and torch.equal(visible, kept[0]) and torch.equal(canvas, kept[1])
    assert image.data_ptr() != visible.data_ptr()
    assert (canvas[~draw.masked] == 0).all()


def test_special_numbers_survive(draw):
    images = torch.randn(2, 3, 4, 6)
    images[0, :, 0, 2], images[0, :, 1, 3], images[1, :, 2, 0] = torch.nan, torch.inf, -0.0
    canvas = recompose(images, draw)
    assert canvas[0, :, 0, 0].isnan().all() and canvas[0, :, 1, 1].isinf().all()
    visible = ConstantFill()(images, draw.pixel_mask(4, 6))
    image = restore(visible, canvas, draw)
    assert torch.equal(image.view(torch.int32), images.view(torch.int32))  # to the bit


@pytest.mark.parametrize('cut', [(slice(0, 4), slice(1, 7)), (slice(2, 6), slice(0, 6))])
@pytest.mark.parametrize('memory_format', FORMATS)
def test_images_that_are_slices(draw, make_images, cut, memory_format):
    whole = make_images(2, 6, 8, memory_format=memory_format)
    images = whole[:, :, cut[0], cut[1]]
    assert torch.equal(recompose(images, draw), recompose(images.contiguous(), draw))
    flipped = images.flip(3).expand(2, 3, 4, 6)
    assert torch.equal(recompose(flipped, draw), recompose(flipped.contiguous(), draw))


def test_gradient_reaches_what_is_reused(draw):
    images = torch.rand(2, 3, 4, 6, requires_grad=True)
    recompose(images, draw).sum().backward()
    assert torch.equal(images.grad, draw.pixel_mask(4, 6).float().expand_as(images))


def test_another_image_size_of_the_same_grid(draw, make_images):
    # 5 x 7 pixels hold the same 2 x 3 cells of 2 pixels.
    images = make_images(2, 5, 7)
    assert torch.equal(recompose(images, draw), recompose(images[:, :, :4, :6], draw))


def test_errors(draw):
    images = torch.zeros(2, 3, 4, 6)
    lost = PatchPattern(ratio=0.5, base=1).draw(2, 4, 6)
    with pytest.raises(ValueError, match='no source map: give the pattern a `scale`, not a `ratio`'):
        recompose(images, lost)
    with pytest.raises(ValueError, match='no source map: what it masked is lost'):
        restore(images, images, lost)
    for wrong in (torch.zeros(3, 3, 4, 6), torch.zeros(2, 3, 6, 6), torch.zeros(2, 3, 4, 8)):
        with pytest.raises(ValueError, match=r'2 images of 2 x 3 cells of 2 px, but got images of shape \('):
            recompose(wrong, draw)
        with pytest.raises(ValueError, match=r'2 images of 2 x 3 cells of 2 px, but got images of shape \('):
            restore(wrong, torch.zeros(2, 3, 2, 4), draw)
    with pytest.raises(ValueError, match=r'must be the canvas of 2 x 4 px, but got \(2, 3\)'):
        restore(images, torch.zeros(2, 3, 2, 3), draw)
