# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masks that follow data: ranked by scores, made of any mask, drawn by what a pattern asks for."""

import zlib
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from generators import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from mmmaskany.masking import (
    ConstantFill,
    Draw,
    GridPattern,
    Masking,
    MixturePattern,
    NoisePattern,
    Pattern,
    RandomPattern,
    RankedPattern,
    check_pattern,
    draw_masks,
    half_size,
    kept_first,
    recompose,
    restore,
)

#: CRC-32 of the draws of a seed, with a scale and with a ratio, since all numbers of a draw are made in one call.
PINNED = {
    'patch': (2997243610, 3999295691),
    'grid': (678406523, 3298059323),
    'grids': (907672929, 1718157521),
    'random': (1335235066, 4192217556),
    'randoms': (2015053707, 1019924864),
    'block': (2865181448, 127995934),
    'blocks': (1623610070, 4205712761),
    'mixture': (2614138914, 645817170),
}


def test_draws_of_a_seed_never_change(make_any):
    if make_any.__name__ not in PINNED:
        pytest.skip('Fourier transforms round as each machine likes')
    for share, pinned in zip((dict(scale=0.5), dict(ratio=0.3)), PINNED[make_any.__name__], strict=True):
        generator, total = seeded(42), 0
        for size in ((7, 36, 48), (16, 56, 56)):
            draw, own = make_any(1, **share).draw(*size, generator), 0
            for tensor in (draw.mask, draw.source, draw.masked):
                own = own if tensor is None else zlib.crc32(tensor.numpy().tobytes(), own)
            total = zlib.crc32(str(own).encode(), total)
        assert total == pinned


# --------------------------------------------------------------------------- scores


def test_the_highest_scores_are_masked():
    scores = torch.tensor([[[1.0, 5.0], [3.0, 2.0]], [[-4.0, -1.0], [-3.0, -2.0]]])
    draw = RankedPattern(ratio=0.5, cell=2, base=1).draw(2, 4, 5, scores=scores)
    assert draw.mask[:, ::2, 0:4:2].tolist() == [[[False, True], [True, False]], [[False, True], [False, True]]]
    assert draw.mask.sum() == 2 * 2 * 4 and not draw.mask[:, :, 4].any()
    draw = RankedPattern(scale=0.5, cell=2, base=1).draw(2, 4, 4, scores=scores)
    assert draw.source[0].tolist() == [[2, 3], [6, 7]]  # the cell at the top right, as it lies in the image


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(2, 9), cols=st.integers(2, 9), share=st.floats(0.1, 0.9), seed=st.integers(0, 1000))
def test_any_scores(rows, cols, share, seed):
    scores = torch.randn(3, rows, cols, generator=seeded(seed))
    for kind in ('scale', 'ratio'):
        pattern = RankedPattern(**{kind: share}, cell=4)
        try:
            draw = pattern.draw(3, 4 * rows, 4 * cols, scores=scores)
        except ValueError as error:
            assert 'must mask at least one cell and leave one' in str(error)
            continue
        assert (
            pattern.base == 4 and draw.mask.flatten(1).sum(1).tolist() == [pattern.masked_cells(4 * rows, 4 * cols)] * 3
        )
        for mask, own in zip(draw.mask, scores, strict=True):
            assert own[mask].min() > own[~mask].max()
        if kind == 'scale':
            images = torch.rand(3, 2, 4 * rows, 4 * cols, generator=seeded(seed))
            visible = ConstantFill()(images, draw.pixel_mask(4 * rows, 4 * cols))
            assert torch.equal(restore(visible, recompose(images, draw), draw), images)


def test_equal_scores_are_drawn_from():
    flat = torch.zeros(4000, 4, 4)
    mask = RankedPattern(ratio=0.25, cell=1).draw(4000, 4, 4, seeded(), scores=flat).mask.float()
    assert mask.sum((1, 2)).eq(4).all() and (mask.mean(0) - 0.25).abs().max() < 0.04
    # What a mask holds comes first, then anything else: an object of 3 cells, 5 cells to be masked.
    thing = torch.zeros(500, 4, 4, dtype=torch.bool)
    thing[:, 0, :3] = True
    mask = RankedPattern(ratio=5 / 16, cell=1).draw(500, 4, 4, seeded(), scores=thing).mask
    assert mask[thing].all() and mask.sum() == 500 * 5 and mask.float().mean(0)[~thing[0]].min() > 0.05
    again = RankedPattern(ratio=5 / 16, cell=1).draw(500, 4, 4, seeded(), scores=thing).mask
    assert torch.equal(mask, again)


def test_a_masking_passes_scores_on():
    images, scores = torch.rand(2, 3, 32, 32), torch.rand(2, 4, 4)
    masking = Masking(RankedPattern(scale=0.5, cell=8))
    views = masking(images, scores=scores)
    for index in range(2):
        chosen = scores[index].flatten().topk(4).indices.sort().values.tolist()
        cells = [images[index, :, 8 * (k // 4) : 8 * (k // 4) + 8, 8 * (k % 4) : 8 * (k % 4) + 8] for k in chosen]
        canvas = torch.cat([torch.cat(cells[:2], 2), torch.cat(cells[2:], 2)], 1)
        assert torch.equal(views.reused[index], canvas)
    torch.manual_seed(3)
    first = Masking(RandomPattern(scale=0.5, cell=8))(images)
    torch.manual_seed(3)  # a pattern that does not ask for scores leaves them alone
    assert torch.equal(Masking(RandomPattern(scale=0.5, cell=8))(images, scores=scores).visible, first.visible)


def test_scores_of_another_grid_are_refused():
    masking, images = Masking(RankedPattern(scale=0.5, cell=8)), torch.zeros(2, 3, 32, 40)
    for wrong in (
        torch.zeros(2, 4, 4),
        torch.zeros(1, 4, 5),
        torch.zeros(2, 20),
        torch.zeros(2, 1, 4, 5),
        torch.zeros(2, 32, 40),
    ):
        with pytest.raises(ValueError, match=r'cells of 8 px of RankedPattern must be of shape \(2, 4, 5\), one for'):
            masking(images, scores=wrong)
    with pytest.raises(ValueError, match='RankedPattern needs scores, but was drawn without: call the masking with'):
        masking(images)
    with pytest.raises(TypeError, match='must be a tensor, but got list'):
        masking(images, scores=[[0.0] * 5] * 4)
    with pytest.raises(ValueError, match='RankedPattern must be numbers, but some are NaN'):
        masking(images, scores=torch.zeros(2, 4, 5).div(0))
    with pytest.raises(ValueError, match='must be on the device of the images, cpu, but got meta'):
        masking(images, scores=torch.zeros(2, 4, 5, device='meta'))
    with pytest.raises(ValueError, match='needs scores, must have cells of one size, but got cell='):
        RankedPattern(scale=0.5, cell=[8, 16])


# --------------------------------------------------------------------------- images


class Bright(RankedPattern):
    """The brightest cells."""

    needs = ('images',)

    def rank(self, batch, rows, cols, generator, device, images):
        return F.adaptive_avg_pool2d(images.mean(1, keepdim=True), (rows, cols))[:, 0]


class Late(Pattern):
    """Cells from a row on that the images tell."""

    needs = ('images',)

    def place(self, layout, largest, generator, images):
        row = (images.flatten(1).amax(1) * (largest.grid_rows - largest.rows)).round().long()
        rank = torch.arange(largest.count)
        return (row[:, None] + rank // largest.cols) * largest.height, (rank % largest.cols).expand(
            len(images), -1
        ) * largest.width


def test_a_pattern_sees_the_images():
    images = torch.zeros(2, 3, 34, 34)
    images[0, :, 8:16, 24:32] = 1
    images[1, :, 24:32, :8] = 1
    images[:, :, 32:] = 9  # what the cells do not cover is not shown
    before = images.clone()
    draw = draw_masks(Bright(ratio=1 / 16, cell=8, base=8), images)
    assert draw.mask.nonzero().tolist() == [[0, 1, 3], [1, 3, 0]]
    assert torch.equal(images, before)
    with pytest.raises(ValueError, match='Bright needs images, but was drawn without'):
        Bright(ratio=0.5).draw(2, 32, 32)


def test_place_sees_the_images():
    images = torch.zeros(2, 1, 8, 8)
    images[1] = 1
    draw = draw_masks(Late(scale=0.5, cell=2, base=1), images)
    assert [mask.any(1).nonzero().flatten().tolist() for mask in draw.mask] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_gradients_do_not_pass_through_a_draw():
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    seen = []

    class Seen(Bright):
        def rank(self, *args, images):
            seen.append(images.requires_grad)
            return super().rank(*args, images=images)

    visible, reused, draw = Masking(Seen(scale=0.5, cell=4))(images)
    (visible.sum() + reused.sum()).backward()
    assert seen == [False] and torch.equal(images.grad, torch.ones_like(images))


def test_one_graph():
    torch._dynamo.reset()
    mixture = MixturePattern([Bright(scale=0.5, cell=4), RandomPattern(scale=0.5, cell=4)], [0.5, 0.4])
    masking, images = Masking(mixture), torch.rand(8, 3, 24, 32, generator=seeded())
    compiled = torch.compile(masking, fullgraph=True, backend='eager')
    visible, reused, draw = compiled(images)
    assert torch.equal(visible, masking(images, draw).visible)
    bright = draw_masks(mixture.patterns[0], images)
    assert torch.equal(draw.mask[draw.choice == 0], bright.mask[draw.choice == 0])
    scored = torch.compile(Masking(RankedPattern(scale=0.5, cell=4)), fullgraph=True, backend='eager')
    scores = torch.rand(8, 6, 8, generator=seeded())
    expected = RankedPattern(scale=0.5, cell=4).draw(8, 24, 32, scores=scores)
    assert torch.equal(scored(images, scores=scores).draw.source, expected.source)


def test_a_gpu_never_waits():
    # Fake tensors refuse whatever would have to look at a value on the CPU; on a device NaN is not looked for.
    with FakeTensorMode():
        images, scores = torch.empty(4, 3, 32, 32, device='cuda'), torch.empty(4, 4, 4, device='cuda')
        mixture = MixturePattern([Bright(scale=0.5, cell=8), RankedPattern(scale=0.5, cell=8)], [0.5, 0.4])
        visible, reused, draw = Masking(mixture)(images, scores=scores)
        assert {tensor.device.type for tensor in (visible, reused, draw.mask, draw.source)} == {'cuda'}
        assert reused.shape == (4, 3, 16, 16)
        fine = Draw.from_mask(scores > 0, base=8, reuse=False).refine(4, 32, 32)
        assert Draw.choose([fine, fine], draw.choice).mask.shape == (4, 8, 8)
        assert kept_first(fine.mask.flatten(1)).device.type == 'cuda'


def test_a_pattern_whose_rank_would_not_be_asked_is_refused():
    with pytest.raises(TypeError, match='Mine must derive from RankedPattern itself to have a `rank`: NoisePattern'):

        class Mine(NoisePattern):
            def rank(self, batch, rows, cols, generator, device):
                return torch.rand(batch, rows, cols)

    class Fixed(RandomPattern):  # its way to choose cells
        def scores(self, layout, largest, generator):
            return torch.arange(16.0).view(1, 4, 4).expand(len(layout.count), -1, -1)

    assert Fixed(ratio=0.25, cell=1, base=1).draw(1, 4, 4).mask[0].nonzero()[:, 0].tolist() == [0] * 4


def test_what_a_pattern_needs_is_checked():
    class Wrong(Bright):
        needs = ('labels',)

    with pytest.raises(ValueError, match=r"needs of Wrong must be a tuple of names of \['images', 'scores'\], but got"):
        Masking(Wrong(ratio=0.5), reuse=False)
    with pytest.raises(ValueError, match='must do with no data, but Bright needs images'):
        check_pattern(Bright(ratio=0.5), ())

    class Forgetful(Pattern):
        def __init__(self):
            self.ratio = 0.5

    with pytest.raises(TypeError, match=r'must call super\(\).__init__ in its constructor, but Forgetful does not'):
        check_pattern(Forgetful())
    with pytest.raises(NotImplementedError, match='Pattern must define `place`, or `draw`'):
        Pattern(ratio=0.5).draw(2, 32, 32)


# --------------------------------------------------------------------------- any mask


def test_a_mask_by_hand():
    mask = torch.tensor([[[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]], [[0] * 4] * 4]).bool()
    draw = Draw.from_mask(mask, base=2)
    assert draw.masked.tolist() == [True, False] and draw.choice is None
    assert draw.source.tolist() == [[[1, 4], [7, 14]], [[-1, -1], [-1, -1]]]
    images = torch.arange(1.0, 2 * 64 + 1).view(2, 1, 8, 8)
    visible, reused, _ = Masking(GridPattern(scale=0.5))(images, draw)
    assert torch.equal(restore(visible, recompose(images, draw), draw), images)
    assert reused[0, 0, :2].tolist() == [[3, 4, 17, 18], [11, 12, 25, 26]]
    assert torch.equal(visible[1], images[1]) and torch.equal(reused[1], half_size(images)[1])


def test_a_draw_goes_through_its_mask(make_any):
    """What a scale masks in the order of the image comes back with its own source map."""
    draw = make_any(scale=0.5).draw(8, 24, 24, seeded())
    again = Draw.from_mask(draw.mask, draw.base)
    assert torch.equal(again.mask, draw.mask) and torch.equal(again.masked, draw.masked)
    assert again.source.shape == (8, 12, 12) if draw.masked.all() else again.source is not None
    for source, mask in zip(again.source, draw.mask, strict=True):
        assert source[source >= 0].tolist() == mask.flatten().nonzero().flatten().tolist()
    if make_any.__name__ in ('random', 'block', 'noise', 'patch'):
        assert torch.equal(again.source, draw.source)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 12), cols=st.integers(1, 12), count=st.integers(1, 144), seed=st.integers(0, 99))
def test_the_canvas_is_one_that_a_scale_gives(rows, cols, count, seed):
    count = min(count, rows * cols)
    mask = torch.zeros(3, rows * cols, dtype=torch.bool)
    for own in mask:
        own[torch.randperm(rows * cols, generator=seeded(seed))[:count]] = True
    draw = Draw.from_mask(mask.view(3, rows, cols), base=1)
    scales = [step / 2000 for step in range(1, 2001)]
    canvases = {(int(s * rows + 0.5), int(s * cols + 0.5)) for s in scales}
    found = [(n, m) for n, m in canvases if n * m == count]
    if draw.source is None:
        assert not found
    else:
        assert tuple(draw.source.shape[1:]) in found or count == rows * cols
        assert torch.equal(draw.source.flatten(1).sort(1).values, mask.nonzero()[:, 1].view(3, -1))


def test_masks_that_feed_no_reused_view():
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, :2, :2] = mask[1, 0, :2] = True
    assert Draw.from_mask(mask, base=4).source is None  # 4 cells and 2
    assert Draw.from_mask(mask[1:], base=4).source is None  # 2 cells of 4 x 4 are no square
    assert Draw.from_mask(mask[:1], base=4, reuse=False).source is None
    with pytest.raises(ValueError, match='a mask of your own must mask as many cells in every image'):
        Masking(GridPattern(scale=0.5))(torch.zeros(2, 3, 16, 16), Draw.from_mask(mask, base=4))
    empty = Draw.from_mask(torch.zeros(2, 4, 4, dtype=torch.bool), base=4)
    images = torch.rand(2, 3, 16, 16)
    visible, reused, _ = Masking(GridPattern(scale=0.5))(images, empty)
    assert torch.equal(visible, images) and torch.equal(reused, half_size(images))


@pytest.mark.parametrize(
    ('mask', 'base', 'error', 'message'),
    [
        (torch.zeros(2, 4, 4), 4, TypeError, 'tensor of bools, True = masked, but got torch.float32'),
        ([[True]], 4, TypeError, 'but got list'),
        (torch.zeros(4, 4).bool(), 4, ValueError, r'must be of shape \(batch, rows, cols\), but got \(4, 4\)'),
        (torch.zeros(2, 4, 4).bool(), 0, ValueError, 'base must be at least 1 px, but got 0'),
        (torch.zeros(2, 4, 4).bool(), 4.0, TypeError, 'base must be a whole number of pixels, but got 4.0'),
    ],
)
def test_wrong_masks(mask, base, error, message):
    with pytest.raises(error, match=message):
        Draw.from_mask(mask, base)


def test_foreign_draws_are_refused():
    masking, images = Masking(GridPattern(scale=0.5, cell=4)), torch.zeros(2, 3, 16, 16)
    draw = draw_masks(masking.pattern, images)
    for other in (torch.zeros(2, 3, 16, 20), torch.zeros(3, 3, 16, 16)):
        with pytest.raises(ValueError, match='made for 2 images of 4 x 4 cells of 4 px, but got images of shape'):
            masking(other, draw)
    with pytest.raises(TypeError, match='draw must be a Draw, such as Draw.from_mask makes, but got Tensor'):
        masking(images, draw.mask)
    with pytest.raises(TypeError, match='mask of a draw must hold bools, .* but got torch.float32 and torch.int64'):
        masking(images, replace(draw, mask=draw.mask.float()))
    with pytest.raises(
        ValueError, match='on the device of the images, cpu, but is on meta: move it by its method `to`'
    ):
        masking(images, draw.to('meta'))
    known = r"reuse must be one of \[True, False, 'aligned', 'in_place'\], but got 'sometimes'"
    with pytest.raises(ValueError, match=known):
        Masking(GridPattern(scale=0.5), reuse='sometimes')


@pytest.mark.parametrize('size', [(32, 32), (34, 45), (33, 40)])
def test_a_draw_is_refined(make_any, size):
    coarse = make_any(base=4, scale=0.5).draw(6, *size, seeded())
    fine = coarse.refine(2, *size)
    assert fine.base == 2 and coarse.refine(4, *size) is coarse
    images = torch.rand(6, 3, *size, generator=seeded())
    fine.check(images)
    assert torch.equal(fine.pixel_mask(*size), coarse.pixel_mask(*size))
    assert torch.equal(recompose(images, fine), recompose(images, coarse))
    with pytest.raises(ValueError, match='must be a multiple of 3 px, but got cells of 4 px'):
        coarse.refine(3, *size)


def test_draws_are_chosen_as_cells_are(make_pattern):
    """A mixture of draws is the mixture of cells, bit for bit."""
    patterns = [make_pattern(scale=0.5), RandomPattern(scale=0.5, cell=3, base=1)]

    class ByDraws(MixturePattern):
        in_cells = False

    ours, other = (kind(patterns, [0.4, 0.4]).draw(30, 14, 17, seeded(5)) for kind in (MixturePattern, ByDraws))
    for name in ('mask', 'masked', 'choice'):
        assert torch.equal(getattr(ours, name), getattr(other, name))
    rows, cols = other.source.shape[1:]
    assert torch.equal(ours.source[:, :rows, :cols], other.source) and ours.source.shape == other.source.shape


def test_kept_first_keeps_the_order_of_the_image():
    mask = torch.rand(50, 300, generator=seeded()) < 0.5
    for order, own in zip(kept_first(mask), mask, strict=True):
        kept = (~own).nonzero().flatten().tolist()
        assert order.tolist() == kept + own.nonzero().flatten().tolist()
