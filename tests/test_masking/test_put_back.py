# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What becomes of the masked part, beside the paper's stitching: features that are put back, and reuse in place."""

import pytest
import torch
from draws import FORMATS, half_the_samples
from generators import seeded
from putting_back import slowly
from torch._subclasses.fake_tensor import FakeTensorMode

from mmmaskany.masking import (
    ConstantFill,
    Draw,
    GridPattern,
    ImageFill,
    Masking,
    MeanFill,
    PatchPattern,
    TokenFill,
    half_size,
    put_back,
    recompose,
)

# --------------------------------------------------------------------------- the inverse map


def test_places_by_hand():
    draw = Draw.from_source(torch.tensor([[[1, 5]], [[3, -1]]]), rows=2, cols=3, base=2)
    assert draw.places.tolist() == [[[-1, 0, -1], [-1, -1, 1]], [[-1, -1, -1], [0, -1, -1]]]


def test_places_are_the_inverse_of_the_source_map(make_any):
    draw = make_any(2, scale=0.5).draw(12, 26, 38, seeded())
    assert torch.equal(draw.places >= 0, draw.mask)
    for source, places in zip(draw.source.flatten(1), draw.places.flatten(1), strict=True):
        cells = (places >= 0).nonzero()[:, 0]
        assert torch.equal(source[places[cells]], cells)


# --------------------------------------------------------------------------- put back


def test_by_hand():
    # The second and the sixth of 2 x 3 cells of 2 px; features of stride 1, four to a cell.
    draw = Draw.from_source(torch.tensor([[[1, 5]]]), rows=2, cols=3, base=2)
    features = torch.tensor([[[[1.0, 2, 5, 6], [3, 4, 7, 8]]]])
    assert put_back(features, draw, (2, 3), (2, 1)).tolist() == [[[[0, 2.5, 0], [0, 0, 6.5]]]]
    assert put_back(features, draw, (4, 6), (1, 1)).tolist() == [
        [[[0, 0, 1, 2, 0, 0], [0, 0, 3, 4, 0, 0], [0, 0, 0, 0, 5, 6], [0, 0, 0, 0, 7, 8]]]
    ]
    # Visible features of 4 px, of which the right one reaches beyond the image: one masked cell in each.
    assert put_back(features, draw, (1, 2), (4, 1)).tolist() == [[[[2.5 / 4, 6.5 / 4]]]]
    # One feature of both cells goes to both.
    assert put_back(torch.tensor([[[[4.0]]]]), draw, (2, 3), (4, 4))[0, 0, 0, 0] == 1


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.float, torch.double, torch.half, torch.bfloat16])
@pytest.mark.parametrize('size', [(16, 24), (21, 17)])
def test_where_a_stem_is_the_identity_each_pixel_comes_back(make_any, size, dtype, memory_format):
    images = torch.randn(12, 3, *size, generator=seeded()).to(dtype).contiguous(memory_format=memory_format)
    draw = make_any(1, scale=0.5).draw(12, *size, seeded(1))
    back = put_back(recompose(images, draw), draw, size, (1, 1))
    assert torch.equal(back, torch.where(draw.pixel_mask(*size), images, 0))
    assert back.dtype == dtype and back.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize(
    ('base', 'strides', 'size'),
    [
        (4, (4, 2), (24, 40)),  # ResNet, Swin, ConvNeXt: 2 x 2 features become one
        (4, (2, 1), (24, 40)),  # EfficientNet
        (4, (16, 8), (32, 64)),  # ViT: a feature is of four cells
        (2, (4, 2), (24, 40)),
        (1, (1, 1), (16, 12)),  # ResNet_CIFAR
        (4, (14, 7), (56, 28)),  # neither divides the other
        (2, (4, 2), (26, 30)),  # the canvas is resized, the last features reach beyond the image
        (4, (4, 2), (29, 35)),
    ],
)
def test_as_by_loops(make_any, base, strides, size):
    stride, reused = strides
    draw = make_any(base, scale=0.5).draw(5, *size, seeded(2))
    seen = tuple((side + 1) // 2 for side in size)
    grid = [-(-side // reused) for side in seen]
    features = torch.randn(5, 4, *grid, generator=seeded(), dtype=torch.double)
    out = tuple(-(-side // stride) for side in size)
    expected = slowly(features, draw, out, strides, seen)
    assert expected.any()
    torch.testing.assert_close(put_back(features, draw, out, strides, seen), expected, rtol=0, atol=1e-14)
    assert not put_back(features, draw, out, strides, seen)[~draw.masked].any()


def test_what_enters_is_neither_lost_nor_doubled():
    # Of cells of whole features, the mean over the output is that over the canvas, times its share of the image.
    draw = GridPattern(scale=0.5, cell=8).draw(3, 64, 64, seeded())
    features = torch.randn(3, 2, 16, 16, generator=seeded(), dtype=torch.double)
    back = put_back(features, draw, (16, 16), (4, 2))
    torch.testing.assert_close(4 * back.mean((2, 3)), features.mean((2, 3)))


def test_put_back_through_autograd(make_any):
    draw = make_any(2, scale=0.5).draw(3, 16, 24, seeded())
    features = torch.randn(3, 2, 4, 6, generator=seeded(), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: put_back(x, draw, (4, 6), (4, 2)), features)
    put_back(features, draw, (4, 6), (4, 2)).sum().backward()
    assert features.grad.any() and not features.grad[~draw.masked].any()


def test_put_back_looks_at_no_value(make_any):
    with FakeTensorMode():
        draw = make_any(2, scale=0.5).draw(4, 26, 34)
        assert put_back(torch.empty(4, 8, 7, 9), draw, (7, 9), (4, 2), (13, 17)).shape == (4, 8, 7, 9)


def test_put_back_errors():
    draw = PatchPattern(scale=0.5, base=1).draw(2, 8, 8)
    features = torch.zeros(2, 3, 2, 2)
    with pytest.raises(ValueError, match=r'first of strides must be a multiple of the second, but got \(3, 2\)'):
        put_back(features, draw, (2, 2), (3, 2))
    with pytest.raises(ValueError, match='made for 2 images, but got features of 1'):
        put_back(features[:1], draw, (2, 2), (4, 2))
    with pytest.raises(ValueError, match='no source map'):
        put_back(features, PatchPattern(ratio=0.25, base=1).draw(2, 8, 8), (2, 2), (4, 2))


# --------------------------------------------------------------------------- what a masking makes


def test_another_scale_is_refused_when_it_is_used(make_images):
    masking = Masking(PatchPattern(scale=0.5), reuse='aligned')
    masking.pattern.share = 0.25
    with pytest.raises(ValueError, match="reuse='aligned' needs scale=0.5, .* but got PatchPattern"):
        masking(make_images(2, 16, 16))


def test_aligned_views_are_the_stitched_ones_and_say_so(make_any, make_images):
    images = make_images(8, 24, 24)
    stitched = Masking(make_any(scale=0.5))(images, generator=seeded())
    masking = Masking(make_any(scale=0.5), reuse='aligned')
    aligned = masking(images, generator=seeded())
    assert torch.equal(aligned.visible, stitched.visible) and torch.equal(aligned.reused, stitched.reused)
    assert aligned.draw.aligned and not stitched.draw.aligned
    # A draw is what it is replayed as.
    assert masking(images, stitched.draw).draw.aligned and masking(images, aligned.draw).draw is aligned.draw
    assert not Masking(make_any(scale=0.5))(images, aligned.draw).draw.aligned
    part = aligned.draw.of(slice(2)).to('cpu').refine(1, 24, 24)
    assert part.aligned and "reuse='aligned'" in repr(masking)


def in_place(pattern, fill, images):
    size = images.shape[-2:]
    before = images.clone()
    visible, reused, draw = Masking(pattern, fill, reuse='in_place')(images, generator=seeded())
    hidden = draw.pixel_mask(*size)
    assert torch.equal(visible, torch.where(hidden, fill.content(images), images))
    shown = torch.where(hidden | ~draw.masked.view(-1, 1, 1, 1), images, fill.content(images))
    assert torch.equal(reused, half_size(shown)) and torch.equal(images, before)
    assert torch.equal(reused[~draw.masked], half_size(images)[~draw.masked])
    return reused, draw


@pytest.mark.parametrize('share', [dict(scale=0.5), dict(ratio=0.6)])
@pytest.mark.parametrize('size', [(24, 32), (21, 17)])
def test_in_place_with_any_pattern(make_any, make_images, size, share):
    reused, draw = in_place(make_any(2, **share), ConstantFill(-1.0), make_images(6, *size))
    assert reused.shape[2:] == ((size[0] + 1) // 2, (size[1] + 1) // 2) and not draw.aligned


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('fill', [ConstantFill([1.0, 2.0, 3.0]), MeanFill(), TokenFill(), ImageFill()])
def test_in_place_with_any_fill(make_images, fill, memory_format):
    reused, draw = in_place(half_the_samples(), fill, make_images(12, 13, 12, memory_format=memory_format))
    assert 0 < draw.masked.sum() < 12
    assert reused.is_contiguous(memory_format=memory_format)


def test_in_place_by_hand():
    images = torch.arange(1.0, 17).view(1, 1, 4, 4)
    draw = Draw.from_mask(torch.tensor([[[True, False], [False, False]]]), base=2)
    visible, reused, _ = Masking(PatchPattern(ratio=0.25, base=2), reuse='in_place')(images, draw)
    assert visible[0, 0].tolist() == [[0, 0, 3, 4], [0, 0, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    assert reused[0, 0].tolist() == [[3.5, 0], [0, 0]]


def test_in_place_masks_as_the_others_do_and_learns_its_token(make_any, make_images):
    images = make_images(6, 24, 24).requires_grad_()
    lost = Masking(make_any(scale=0.5), reuse=False)(images, generator=seeded())
    masking = Masking(make_any(scale=0.5), TokenFill(), reuse='in_place')
    visible, reused, draw = masking(images, generator=seeded())
    assert torch.equal(draw.mask, lost.draw.mask)
    (visible.sum() + 4 * reused.sum()).backward()
    # Each pixel of a masked sample is in one of the views, the token in the other; of others the image is in both.
    both = 1 + (~draw.masked).float().view(-1, 1, 1, 1)
    assert torch.equal(images.grad, both.expand_as(images))
    assert masking.fill.token.grad.flatten().tolist() == [draw.masked.sum() * 24 * 24] * 3


@pytest.mark.parametrize('reuse', ['aligned', 'in_place'])
def test_an_unmasked_sample_is_as_at_evaluation(make_images, reuse):
    images = make_images(40, 12, 12)
    visible, reused, draw = Masking(half_the_samples(), reuse=reuse)(images, generator=seeded())
    whole = ~draw.masked
    assert 8 < whole.sum() < 32
    assert torch.equal(visible[whole], images[whole]) and torch.equal(reused[whole], half_size(images[whole]))


@pytest.mark.parametrize('reuse', ['aligned', 'in_place'])
def test_one_graph(make_any, reuse):
    torch._dynamo.reset()
    masking = Masking(make_any(scale=0.5), reuse=reuse)
    compiled = torch.compile(masking, fullgraph=True, backend='eager')
    images = torch.randn(8, 3, 24, 32, generator=seeded())
    visible, reused, draw = compiled(images)
    plain = masking(images, draw)
    assert torch.equal(visible, plain.visible) and draw.aligned == (reuse == 'aligned')
    torch.testing.assert_close(reused, plain.reused)


@pytest.mark.parametrize('reuse', ['aligned', 'in_place'])
def test_a_compiled_masking_makes_the_same(reuse):
    images = torch.randn(6, 3, 24, 32, generator=seeded())
    plain, compiled = (Masking(half_the_samples(), reuse=reuse, compiled=each) for each in (False, True))
    expected, views = (masking(images, generator=seeded(3)) for masking in (plain, compiled))
    assert len(compiled.graphs.made) == 1 and views.draw.aligned == expected.draw.aligned
    for _ in range(2):  # made, then run
        assert torch.equal(views.visible, expected.visible) and torch.equal(views.reused, expected.reused)
        views = compiled(images, generator=seeded(3))


def test_reuse_errors():
    with pytest.raises(ValueError, match=r'needs scale=0.5, .* but got PatchPattern\(scale=0.25'):
        Masking(PatchPattern(scale=0.25), reuse='aligned')
    for reuse in (True, 'aligned'):
        with pytest.raises(ValueError, match=r"give a scale, or reuse='in_place' or False"):
            Masking(PatchPattern(ratio=0.25), reuse=reuse)


# --------------------------------------------------------------------------- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.float, torch.half, torch.bfloat16])
def test_gpu_gives_what_the_cpu_gives_and_never_waits(make_any, dtype, memory_format):
    draw = make_any(4, scale=0.5).draw(6, 64, 96, seeded())
    features = torch.randn(6, 8, 16, 24, generator=seeded()).to(dtype).contiguous(memory_format=memory_format)
    on_gpu, moved = features.cuda().requires_grad_(), draw.to('cuda')
    put_back(on_gpu, moved, (16, 24), (4, 2))  # what is made once
    torch.cuda.set_sync_debug_mode('error')
    try:
        back = put_back(on_gpu, moved, (16, 24), (4, 2))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert back.dtype == dtype and back.is_contiguous(memory_format=memory_format)
    expected = put_back(features.double().requires_grad_(), draw, (16, 24), (4, 2))
    tolerance = dict(rtol=0, atol=8 * torch.finfo(dtype).eps)
    torch.testing.assert_close(back.detach().cpu().double(), expected.detach(), **tolerance)
    weights = torch.randn(back.shape, generator=seeded(1))
    (gradient,) = torch.autograd.grad((back.float() * weights.cuda()).sum(), on_gpu)
    own = features.double().requires_grad_()
    (wanted,) = torch.autograd.grad((put_back(own, draw, (16, 24), (4, 2)) * weights).sum(), own)
    torch.testing.assert_close(gradient.cpu().double(), wanted, **tolerance)
