# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masking by one graph, in pieces, and by numbers that are made in one call: always the same masks and pixels."""

import copy
import pickle
import warnings

import pytest
import torch
from generators import seeded

from mmmaskany.masking import (
    ConstantFill,
    Fill,
    GridPattern,
    Masking,
    MixturePattern,
    PatchPattern,
    RandomPattern,
    RankedPattern,
    TokenFill,
)
from mmmaskany.masking import draw as draw_module
from mmmaskany.masking import graphs as graphs_module
from mmmaskany.masking.draw import select
from mmmaskany.masking.graphs import Graphs
from mmmaskany.masking.patterns import base, draw_numbers, ranked
from mmmaskany.masking.patterns import mixture as mixture_module
from mmmaskany.masking.random_numbers import Numbers

BLACK = (-2.12, -2.04, -1.8)


def mixture():
    patterns = [PatchPattern(scale=0.5), GridPattern(scale=0.5, cell=[4, 8]), RandomPattern(scale=0.5, cell=[4, 8])]
    return MixturePattern(patterns, [0.25] * 3)


def same(one, other):
    assert torch.equal(one.visible, other.visible) and torch.equal(one.reused, other.reused)
    assert list(one.draw.tensors()) == list(other.draw.tensors())
    assert all(
        torch.equal(a, b) for a, b in zip(one.draw.tensors().values(), other.draw.tensors().values(), strict=True)
    )


# --------------------------------------------------------------------------- numbers


def test_a_pattern_takes_as_many_numbers_as_it_says(make_any):
    pattern = make_any(scale=0.5)
    numbers = draw_numbers(pattern, 6, 24, 32, seeded())
    assert numbers.values.shape == (6, pattern.numbers(24, 32))
    draw = pattern.draw(6, 24, 32, numbers)
    again = pattern.draw(6, 24, 32, seeded())
    assert torch.equal(draw.mask, again.mask) and torch.equal(draw.source, again.source)
    if not isinstance(pattern, MixturePattern):
        assert numbers.taken == numbers.values.shape[1]
        with pytest.raises(ValueError, match='random numbers were made for each image, but'):
            pattern.draw(6, 24, 32, Numbers(numbers.values[:, :-1]))


def test_a_mixture_draws_alike_where_its_choice_cannot_be_looked_at(monkeypatch):
    kinds = [make(scale=0.5) for make in (PatchPattern, GridPattern, RandomPattern, RandomPattern)]
    pattern = MixturePattern(kinds, [0.2] * 4)
    seen = pattern.draw(64, 64, 96, seeded())
    for module in (mixture_module, ranked):
        monkeypatch.setattr(module, 'on_cpu', lambda tensor: False)
    unseen = pattern.draw(64, 64, 96, seeded())
    assert all(torch.equal(a, b) for a, b in zip(seen.tensors().values(), unseen.tensors().values(), strict=True))
    assert set(seen.choice.tolist()) == {0, 1, 2, 3, 4}


def test_a_derived_pattern_draws_by_the_generator():
    class Corner(PatchPattern):
        def place(self, layout, largest, generator):
            assert isinstance(generator, torch.Generator)
            top = torch.zeros(len(layout.count), 1, dtype=torch.long)
            return top, top

    assert Corner(scale=0.5).numbers(16, 16) is None
    draw = MixturePattern([Corner(scale=0.5), PatchPattern(scale=0.5)], [0.5, 0.5]).draw(40, 16, 16, seeded())
    assert draw.mask[draw.choice == 0][:, :2, :2].all()


# --------------------------------------------------------------------------- in pieces on a CPU


@pytest.mark.parametrize('dtype', [torch.float, torch.half, torch.bfloat16, torch.double, torch.uint8])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_select_is_where(dtype, memory_format):
    images = (torch.randn(4, 3, 6, 5, generator=seeded()) * 9).to(dtype).contiguous(memory_format=memory_format)
    if dtype.is_floating_point:
        images[0, 0, 0, :4] = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0])
    mask = torch.rand(4, 1, 6, 5, generator=seeded(1)) < 0.5
    mask[0, 0, 0] = torch.tensor([False, True, False, False, True])
    for content in (torch.zeros(()), torch.full((1, 3, 1, 1), -2.5), torch.randn(4, 3, 6, 5)):
        content = content.to(dtype)
        expected = torch.where(mask, content, images)
        chosen = select(mask, content, images)
        assert torch.equal(
            torch.nan_to_num(chosen) if dtype.is_floating_point else chosen,
            torch.nan_to_num(expected) if dtype.is_floating_point else expected,
        )
        assert chosen.isnan().any() == expected.isnan().any() and chosen.dtype == dtype
        assert chosen.is_contiguous(memory_format=memory_format)
        out = torch.empty_like(images)
        select(mask, content, images, out=out)
        assert torch.equal(out.isnan(), expected.isnan())


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('reuse', [True, False])
def test_pieces_of_any_size_make_the_same_views(reuse, memory_format, monkeypatch):
    images = torch.randn(11, 3, 30, 42, generator=seeded()).contiguous(memory_format=memory_format)
    masking = Masking(mixture(), ConstantFill(BLACK), reuse)
    whole = masking(images, generator=seeded())
    for numbers in (1, 3 * images[0].numel()):
        monkeypatch.setattr(draw_module, 'PIECE', numbers)
        same(masking(images, generator=seeded()), whole)
    assert whole.visible.is_contiguous(memory_format=memory_format)
    assert whole.reused.is_contiguous(memory_format=memory_format)


# --------------------------------------------------------------------------- compiled


@pytest.fixture
def uncompiled(monkeypatch):
    """Graphs that are counted instead of compiled: what decides of them is seen in no time."""
    made = []
    monkeypatch.setattr(graphs_module, 'compile_graph', lambda function, inputs: made.append(inputs) or function)
    return made


def test_a_graph_makes_the_same_masks_and_pixels():
    images = torch.randn(6, 3, 32, 32, generator=seeded())
    eager, compiled = (Masking(mixture(), ConstantFill(BLACK), compiled=value) for value in (False, True))
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        compiled(images, generator=seeded(1))  # makes the graph
    assert len(compiled.graphs.made) == 1 and not compiled.graphs.stopped
    for seed in (2, 3):
        same(compiled(images, generator=seeded(seed)), eager(images, generator=seeded(seed)))


def test_a_graph_for_each_size_then_none(uncompiled):
    masking = Masking(mixture(), compiled=True)
    for side in (16, 20, 16, 24, 28, 20):
        masking(torch.zeros(2, 3, side, side))
    assert len(uncompiled) == 4
    with pytest.warns(UserWarning, match='^masks of new sizes are made uncompiled from here on.*: 4 graphs were made'):
        masking(torch.zeros(2, 3, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for side in (36, 40, 44, 16):  # views of given masks are still compiled: they are few for any pattern
            masking(torch.zeros(2, 3, side, side))
    assert len(uncompiled) == 4 + 4
    with pytest.warns(UserWarning, match='^views of masks of new sizes are made uncompiled'):
        masking(torch.zeros(2, 3, 48, 48))
    assert len(uncompiled) == 8


def test_a_schedule_keeps_the_graph_of_its_views(uncompiled):
    images = torch.randn(4, 3, 64, 64, generator=seeded())
    masking, eager = (Masking(mixture(), compiled=value) for value in (True, False))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for step in range(12):
            masking.pattern.share = eager.pattern.share = 0.2 + step / 40
            same(masking(images, generator=seeded(step)), eager(images, generator=seeded(step)))
    assert len(masking.graphs.made) == 4 and 1 <= len(masking.view_graphs.made) <= 4


def test_what_changes_the_masks_is_another_graph(uncompiled):
    masking = Masking(mixture(), compiled=True)
    images = torch.randn(8, 3, 64, 64, generator=seeded())
    masking(images)
    masking.pattern.share = 0.25
    assert masking(images, generator=seeded()).draw.ratio.max() < 0.1
    draw = masking(images, generator=seeded()).draw
    masking(images, draw)
    assert len(uncompiled) == 3


def test_no_compiler_is_said_once(monkeypatch):
    def fail(function, inputs):
        raise RuntimeError('no compiler\nis here')

    monkeypatch.setattr(graphs_module, 'compile_graph', fail)
    masking, images = Masking(mixture(), compiled=True), torch.randn(4, 3, 16, 16, generator=seeded())
    with pytest.warns(UserWarning, match='slower on a GPU: RuntimeError: no compiler$') as record:
        made = [masking(images, generator=seeded()) for _ in range(4)]
    assert len(record) == 2  # of the masks and of their views
    same(made[0], Masking(mixture(), compiled=False)(images, generator=seeded()))
    same(made[0], made[2])


def test_only_what_is_ours_and_learns_nothing_is_compiled(uncompiled):
    class Own(Fill):
        def content(self, images):
            return images.new_ones(())

    class OwnPattern(RankedPattern):
        needs = ()

        def rank(self, batch, rows, cols, generator, device):
            return torch.rand(batch, rows, cols, generator=generator, device=device)

    images = torch.randn(4, 3, 16, 16, generator=seeded())
    for masking in (Masking(mixture(), Own(), compiled=True), Masking(mixture(), TokenFill(), compiled=True)):
        masking(images)
    Masking(mixture(), compiled=True)(images.clone().requires_grad_())
    Masking(mixture())(images)  # on a CPU, unless it is asked for
    assert not uncompiled
    masking = Masking(OwnPattern(scale=0.5, cell=4), compiled=True)  # its draw is not, the views are
    assert masking(images, generator=seeded()).draw.mask.any()
    assert [len(inputs) for inputs in uncompiled] == [4]


def test_copies_have_no_graphs(uncompiled):
    masking = Masking(mixture(), compiled=True)
    masking(torch.zeros(2, 3, 16, 16))
    for copied in (copy.deepcopy(masking), pickle.loads(pickle.dumps(masking))):
        assert isinstance(copied.graphs, Graphs) and copied.graphs is not masking.graphs and not copied.graphs.made


@pytest.mark.parametrize('make', [lambda: PatchPattern(scale=0.5), mixture], ids=['patch', 'mixture'])
def test_a_compiled_model_draws_as_it_does_uncompiled(make):
    torch._dynamo.reset()
    masking, images = Masking(make()), torch.zeros(8, 3, 32, 32)
    compiled = torch.compile(masking, fullgraph=True, backend='aot_eager')
    for seed in (0, 1):
        torch.manual_seed(seed)
        ours = masking(images)
        torch.manual_seed(seed)
        same(compiled(images), ours)


@pytest.mark.parametrize('cell', [(4,), (4, 8), (8, 12, 4)])
def test_of_equal_scores_the_first_in_the_image_are_masked(cell):
    """Of a CPU and of a device that must not be waited for, which select in two ways."""
    pattern = RandomPattern(scale=0.5, cell=list(cell), base=4)
    layouts = pattern.layouts(12, 15)
    layout = pattern._draw_layout(layouts, 9, seeded(1), 'cpu')
    largest = base.largest_layout(layouts)
    scores = torch.randint(0, 3, (9, largest.grid_rows, largest.grid_cols), generator=seeded()).float()
    selected = ranked._select_by_layout(scores, layout, layouts)
    lined_up = ranked._fill_up(scores, layout, layouts)
    others, grid = ranked._select(lined_up, largest)
    for index in range(9):
        count, rows, cols = (int(value[index]) for value in (layout.count, layout.grid_rows, layout.grid_cols))
        own = scores[index, :rows, :cols].flatten().tolist()
        first = sorted(sorted(range(len(own)), key=own.__getitem__)[:count])  # Python's sort is stable
        expected = [place // cols * largest.grid_cols + place % cols for place in first]
        assert selected[index, :count].tolist() == others[index, :count].tolist() == expected
        assert grid[index].flatten().nonzero()[:, 0].tolist() == expected
