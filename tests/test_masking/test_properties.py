# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What holds for every pattern, batch, size, share, dtype and memory layout: drawn at random by hypothesis."""

import math

import numpy as np
import torch
from generators import seeded
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmmaskany.datasets.transforms import draw_rectangles, split_image
from mmmaskany.masking import (
    BlockPattern,
    ConstantFill,
    Draw,
    GridPattern,
    Masking,
    MeanFill,
    MixturePattern,
    NoisePattern,
    PatchPattern,
    RandomPattern,
    TokenFill,
    half_size,
    recompose,
    restore,
)

FLOATS = [torch.float, torch.half, torch.bfloat16, torch.double]
DTYPES = [*FLOATS, torch.uint8, torch.long, torch.bool]
#: How the same numbers may lie in memory.
LAYOUTS = {
    'contiguous': lambda images: images.contiguous(),
    'channels_last': lambda images: images.contiguous(memory_format=torch.channels_last),
    'cut out': lambda images: torch.nn.functional.pad(images, (1, 2, 3, 0))[:, :, 3:, 1:-2],
    'every other': lambda images: images.repeat_interleave(2, 3)[..., ::2],
    'transposed': lambda images: images.transpose(2, 3).contiguous().transpose(2, 3),
}
SEEDS = st.integers(0, 2**32 - 1)
several_times = settings(max_examples=100, deadline=None)


@st.composite
def patterns(draw, reuse=None, mixtures=True, sizes=3):
    """Any pattern; with ``reuse`` one that feeds the reused view, with ``reuse=False`` one that does not."""
    base = draw(st.integers(1, 4))
    reuse = draw(st.booleans()) if reuse is None else reuse
    shares = st.floats(0.05, 0.95)
    scale = draw(shares)

    def one():
        share = dict(scale=scale) if reuse else dict(ratio=draw(shares))
        kind = draw(st.sampled_from([PatchPattern, GridPattern, RandomPattern, BlockPattern, NoisePattern]))
        if kind is PatchPattern:
            return PatchPattern(base=base, **share)
        cell = [base * size for size in draw(st.lists(st.integers(1, 4), min_size=1, max_size=sizes))]
        own = {}
        if kind is NoisePattern:
            own = dict(color=draw(st.sampled_from(['red', 'blue', 'green', 'purple'])))
        elif kind is BlockPattern:
            own = dict(aspect=draw(st.sampled_from([(0.3, 1 / 0.3), (1.0, 1.0), (0.1, 0.2)])))
        return kind(cell=cell, base=base, **own, **share)

    if not mixtures or draw(st.integers(0, 3)):
        return one()
    count = draw(st.integers(1, 3))
    return MixturePattern([one() for _ in range(count)], [draw(st.sampled_from([1.0, 0.6, 0.0])) / count] * count)


@st.composite
def batches(draw, dtypes=DTYPES, least=1):
    """Any batch of images."""
    shape = [draw(st.integers(low, high)) for low, high in ((least, 5), (1, 4), (1, 40), (1, 40))]
    numbers = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(draw(SEEDS)))
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](numbers.to(draw(st.sampled_from(dtypes))))


def drawn(pattern, images, seed):
    """Draw masks for images, or give the example up: it is refused where an image is too small for a pattern."""
    try:
        return pattern.draw(len(images), *images.shape[-2:], seeded(seed))
    except ValueError as error:
        assert 'must mask at least one cell and leave one' in str(error)
        assume(False)


def half_up(value):
    return math.floor(value + 0.5)


def counts(pattern, images):
    """How many base cells a sample may have masked, by the definitions of scale and ratio."""
    if isinstance(pattern, MixturePattern):
        return {0}.union(*(counts(part, images) for part in pattern.patterns))
    rows, cols = (side // pattern.base for side in images.shape[-2:])
    grids = [((rows // h), (cols // w), h * w) for h, w in pattern.cell_sizes()]
    if pattern.scale is None:
        return {half_up(pattern.ratio * n * m) * cell for n, m, cell in grids}
    return {half_up(pattern.scale * n) * half_up(pattern.scale * m) * cell for n, m, cell in grids}


@several_times
@given(patterns(), batches(), SEEDS)
def test_count_is_exact_and_a_seed_gives_its_draw_again(pattern, images, seed):
    draw = drawn(pattern, images, seed)
    assert set(draw.mask.flatten(1).sum(1).tolist()) <= counts(pattern, images)
    assert torch.equal(draw.masked, draw.mask.flatten(1).any(1))
    again = drawn(pattern, images, seed)
    assert torch.equal(draw.mask, again.mask) and (draw.source is None) == (pattern.scale is None)
    assert draw.source is None or torch.equal(draw.source, again.source)


@several_times
@given(patterns(reuse=True), batches(), SEEDS)
def test_partition_and_inverse(pattern, images, seed):
    draw, before = drawn(pattern, images, seed), images.clone()
    for mask, source in zip(draw.mask, draw.source, strict=True):  # each masked cell once, and no other
        assert source[source >= 0].sort().values.tolist() == mask.flatten().nonzero().flatten().tolist()
    pixels = draw.pixel_mask(*images.shape[-2:])
    visible, canvas = ConstantFill()(images, pixels), recompose(images, draw)
    assert visible.dtype == canvas.dtype == images.dtype
    assert not visible.masked_select(pixels).any()
    assert torch.equal(visible.masked_select(~pixels), images.masked_select(~pixels))
    restored = restore(visible, canvas, draw)
    assert restored.dtype == images.dtype and torch.equal(restored, before)
    assert torch.equal(images, before)  # the input is untouched


@several_times
@given(patterns(reuse=False), batches(), SEEDS)
def test_masks_without_reuse_are_filled(pattern, images, seed):
    draw, before = drawn(pattern, images, seed), images.clone()
    pixels = draw.pixel_mask(*images.shape[-2:])
    for fill in (ConstantFill(1), MeanFill(), TokenFill(images.shape[1])):
        visible = fill(images, pixels)
        assert visible.dtype == images.dtype and visible.shape == images.shape
        assert torch.equal(visible.masked_select(~pixels), images.masked_select(~pixels))
    assert (ConstantFill(1)(images, pixels).masked_select(pixels) == 1).all()
    assert torch.equal(images, before)


@several_times
@given(patterns(reuse=True), batches(FLOATS, least=2), st.sampled_from([ConstantFill, MeanFill]), st.booleans(), SEEDS)
def test_a_batch_is_its_samples(pattern, images, fill, reuse, seed):
    draw, before = drawn(pattern, images, seed), images.clone()
    masking = Masking(pattern, fill(), reuse)
    visible, reused, _ = masking(images, draw)
    assert torch.equal(images, before)
    for i in range(len(images)):
        part = slice(i, i + 1)
        alone = masking(images[part], Draw(draw.mask[part], draw.masked[part], draw.base, draw.source[part]))
        assert torch.equal(alone.visible, visible[part])
        assert torch.equal(alone.reused, reused[part])
        if not draw.masked[i]:  # as at evaluation
            assert torch.equal(visible[part], images[part])
            assert torch.equal(reused[part], half_size(visible[part]))
    same_draw = masking(images, generator=seeded(seed))
    assert torch.equal(same_draw.draw.mask, draw.mask) and torch.equal(same_draw.visible, visible)


@several_times
@given(
    patterns(reuse=True, mixtures=False, sizes=1),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([np.uint8, np.float32, np.int64]),
    SEEDS,
)
def test_one_image_in_a_pipeline_is_masked_as_in_a_batch(pattern, height, width, dtype, seed):
    image = np.random.default_rng(seed).integers(1, 256, (height, width, 3)).astype(dtype)
    before, batch = image.copy(), torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    drawn(pattern, batch, seed)  # refused alike
    torch.manual_seed(seed)
    visible, canvas = split_image(image, draw_rectangles(pattern, height, width))
    torch.manual_seed(seed)
    cells, size = pattern.cells(1, height, width), (height // pattern.base, width // pattern.base)
    draw = Draw.from_source(cells.source(pattern.canvas(height, width), size[1]), *size, pattern.base)
    expected = recompose(batch, draw)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(canvas, expected[: canvas.shape[0], : canvas.shape[1]])
    assert not expected[canvas.shape[0] :].any() and not expected[:, canvas.shape[1] :].any()
    filled = ConstantFill()(batch, draw.pixel_mask(height, width))[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(visible, filled)
    np.testing.assert_array_equal(image, before)
