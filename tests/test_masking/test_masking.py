# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import ast
import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from draws import FORMATS, half_the_samples
from generators import seeded
from torch._subclasses.fake_tensor import FakeTensorMode

import mmmaskany.masking
from mmmaskany.masking import (
    ConstantFill,
    GridPattern,
    ImageFill,
    Masking,
    MeanFill,
    MixturePattern,
    PatchPattern,
    TokenFill,
    half_size,
    recompose,
    restore,
    reused_size,
)

SOURCES = Path(mmmaskany.masking.__file__).parent


# --------------------------------------------------------------------------- half size


def test_half_size_by_hand():
    images = torch.tensor([[[[1.0, 3, 0, 0], [5, 7, 0, 8]]]])
    assert half_size(images).tolist() == [[[[4, 2]]]]


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.float, torch.half, torch.bfloat16, torch.double])
@pytest.mark.parametrize('size', [(8, 12), (7, 12), (8, 5), (9, 11)])
def test_half_size_is_pytorchs_bilinear_resize(size, dtype, memory_format):
    images = torch.randn(2, 3, *size, generator=seeded()).to(dtype).contiguous(memory_format=memory_format)
    before = images.clone()
    half = half_size(images)
    shape = reused_size(*size)
    assert shape == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    expected = F.interpolate(images.double(), size=shape, mode='bilinear', align_corners=False)
    torch.testing.assert_close(half.double(), expected, rtol=0, atol=2 * torch.finfo(dtype).eps + 3e-6)
    assert half.dtype == dtype and half.is_contiguous(memory_format=memory_format)
    assert torch.equal(images, before)


# --------------------------------------------------------------------------- both views


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.float, torch.half, torch.bfloat16])
@pytest.mark.parametrize('size', [(16, 16), (24, 16), (26, 38), (21, 17)])
def test_views(make_any, make_images, size, dtype, memory_format):
    base = 2
    images = torch.randn(12, 3, *size, generator=seeded()).to(dtype).contiguous(memory_format=memory_format)
    before = images.clone()
    visible, reused, draw = Masking(make_any(base, scale=0.5))(images, generator=seeded(1))
    assert torch.equal(images, before)
    for view in (visible, reused):
        assert view.dtype == dtype
        assert view.is_contiguous(memory_format=memory_format)
    mask = draw.pixel_mask(*size).expand_as(images)
    assert (visible[mask] == 0).all() and torch.equal(visible[~mask], images[~mask])

    canvas, shape = recompose(images, draw), reused_size(*size)
    assert torch.equal(restore(visible, canvas, draw), images)
    assert reused.shape == (12, 3, *shape)
    assert torch.equal(reused[~draw.masked], half_size(images)[~draw.masked])
    if canvas.shape[-2:] != shape:  # resized, never cropped
        canvas = F.interpolate(canvas, size=shape, mode='bilinear', align_corners=False)
    torch.testing.assert_close(reused[draw.masked], canvas[draw.masked], rtol=0, atol=0)


def test_an_unmasked_sample_is_as_at_evaluation(make_images):
    images = make_images(40, 12, 12)
    visible, reused, draw = Masking(half_the_samples())(images, generator=seeded())
    whole = ~draw.masked
    assert 8 < whole.sum() < 32
    assert torch.equal(visible[whole], images[whole])
    assert torch.equal(reused[whole], half_size(images[whole]))
    assert (visible[draw.masked] != images[draw.masked]).flatten(1).any(1).all()


@pytest.mark.parametrize('scale', [0.25, 0.75])
def test_another_scale_is_resized(scale, make_images):
    images = make_images(4, 16, 24)
    visible, reused, draw = Masking(PatchPattern(scale=scale, base=1))(images)
    canvas = recompose(images, draw)
    assert canvas.shape[-2:] == (16 * scale, 24 * scale)
    assert reused.shape[-2:] == (8, 12)
    assert torch.equal(reused, F.interpolate(canvas, size=(8, 12), mode='bilinear', align_corners=False))
    assert torch.equal(restore(visible, canvas, draw), images)


@pytest.mark.parametrize('share', [dict(scale=0.5), dict(ratio=0.6)])
def test_masks_without_reuse(make_any, make_images, share):
    images = make_images(10, 24, 24)
    pattern = make_any(**share)
    visible, reused, draw = Masking(pattern, ConstantFill(-1), reuse=False)(images, generator=seeded())
    assert torch.equal(draw.mask, pattern.draw(10, 24, 24, seeded()).mask)
    assert torch.equal(visible, ConstantFill(-1)(images, draw.pixel_mask(24, 24)))
    assert torch.equal(reused, half_size(visible))


def test_masks_are_the_same_with_and_without_reuse(make_any, make_images):
    images = make_images(6, 24, 24)
    with_reuse = Masking(make_any(scale=0.5))(images, generator=seeded())
    without = Masking(make_any(scale=0.5), reuse=False)(images, generator=seeded())
    assert torch.equal(with_reuse.visible, without.visible)


@pytest.mark.parametrize('reuse', [True, False])
def test_a_draw_is_replayed(make_any, make_images, reuse):
    images, masking = make_images(6, 24, 24), Masking(make_any(scale=0.5), reuse=reuse)
    first = masking(images)
    state = torch.get_rng_state()
    again = masking(images, first.draw)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.visible, again.visible) and torch.equal(first.reused, again.reused)
    assert again.draw is first.draw
    other = masking(images.flip(0), first.draw)
    assert torch.equal(other.draw.mask, first.draw.mask) and not torch.equal(other.visible, first.visible)


def test_seeds(make_any, make_images):
    images, masking = make_images(8, 24, 24), Masking(make_any(scale=0.5))
    first, again, other = (masking(images, generator=seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.visible, again.visible) and torch.equal(first.reused, again.reused)
    assert not torch.equal(first.visible, other.visible)
    torch.manual_seed(3)
    assert torch.equal(masking(images).visible, first.visible)
    assert not torch.equal(masking(images).visible, first.visible)


@pytest.mark.parametrize('fill', [ConstantFill([1.0, 2.0, 3.0]), MeanFill(), TokenFill(), ImageFill()])
@pytest.mark.parametrize('memory_format', FORMATS)
def test_fills_in_both_formats(fill, memory_format, make_images):
    images = make_images(3, 12, 12, memory_format=memory_format)
    visible, reused, draw = Masking(half_the_samples(), fill)(images, generator=seeded(2))
    assert 0 < draw.masked.sum() < 3
    assert torch.equal(visible, fill(images, draw.pixel_mask(12, 12)))
    assert visible.is_contiguous(memory_format=memory_format)
    assert torch.equal(reused, Masking(half_the_samples())(images, draw).reused)


def test_gradients(make_images):
    images = make_images(6, 12, 12).requires_grad_()
    masking = Masking(PatchPattern(scale=0.5, base=1), TokenFill())
    visible, reused, draw = masking(images)
    (visible.sum() + 2 * reused.sum()).backward()
    # A pixel is in one of the views; the token stands where a pixel is masked.
    assert torch.equal(images.grad, 1 + draw.pixel_mask(12, 12).float().expand_as(images))
    assert masking.fill.token.grad.flatten().tolist() == [6 * 36] * 3


def test_module(make_images):
    masking = Masking(GridPattern(scale=0.5, cell=4), TokenFill())
    masking(make_images(2, 16, 16))
    copied = copy.deepcopy(masking)
    assert list(copied.state_dict()) == ['fill.token']
    images = make_images(2, 16, 16)
    assert torch.equal(masking(images, generator=seeded()).visible, copied(images, generator=seeded()).visible)
    assert 'pattern=GridPattern(scale=0.5, cell=[4], base=4), reuse=True' in repr(masking)
    assert isinstance(Masking(PatchPattern(0.5)).fill, ConstantFill)


def test_after_inference_mode(make_any, make_images):
    masking, images = Masking(make_any(scale=0.5)), make_images(2, 12, 12).requires_grad_()
    with torch.inference_mode():
        masking(images)
    visible, reused, _ = masking(images)
    (visible.sum() + reused.sum()).backward()
    assert images.grad is not None


def test_errors(make_images):
    images = make_images(4, 8, 8)
    with pytest.raises(TypeError, match='pattern must be a Pattern or MixturePattern, but got dict'):
        Masking(dict(type='PatchPattern'))
    with pytest.raises(TypeError, match='fill must be a Fill, but got float'):
        Masking(PatchPattern(scale=0.5), 0.0)
    with pytest.raises(ValueError, match=r'needs a pattern with a `scale`, but got PatchPattern\(ratio=0.5'):
        Masking(PatchPattern(ratio=0.5))
    mixture = MixturePattern([PatchPattern(ratio=0.5)], [0.5])
    with pytest.raises(ValueError, match='needs a pattern with a `scale`, but got MixturePattern'):
        Masking(mixture)
    with pytest.raises(ValueError, match='take a larger image or smaller cells'):
        Masking(GridPattern(scale=0.5))(images)
    pattern = PatchPattern(scale=0.5, base=1)
    for reuse in (True, False):
        for batch, size in ((1, 8), (3, 8), (4, 10)):
            draw = pattern.draw(batch, size, size)
            with pytest.raises(ValueError, match=f'made for {batch} images of {size} x {size} cells of 1 px, but got'):
                Masking(pattern, reuse=reuse)(images, draw)
    with pytest.raises(ValueError, match='no source map'):
        Masking(pattern)(images, PatchPattern(ratio=0.25, base=1).draw(4, 8, 8))


# --------------------------------------------------------------------------- nothing waits, nothing breaks


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('fill', [ConstantFill, lambda: ConstantFill([1.0, 2.0, 3.0]), MeanFill, TokenFill, ImageFill])
def test_nothing_depends_on_data(make_any, fill, memory_format):
    # Fake tensors refuse whatever would have to look at a value on the CPU, as a GPU would have to wait for it.
    masking = Masking(make_any(scale=0.5), fill())  # real: from torch 2.13 on trunc_normal_ looks at its values
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = torch.empty(4, 3, 26, 34).contiguous(memory_format=memory_format)
        visible, reused, draw = masking(images)
        assert visible.shape == (4, 3, 26, 34) and reused.shape == (4, 3, 13, 17)
        assert restore(visible, recompose(images, draw), draw).shape == images.shape
        assert visible.is_contiguous(memory_format=memory_format)


def test_fake_tensors_refuse_data():
    with FakeTensorMode():
        with pytest.raises(Exception, match='_local_scalar_dense'):
            torch.ones(()).item()
        with pytest.raises(Exception, match='nonzero'):
            torch.ones(3).nonzero()


def test_one_graph(make_any):
    torch._dynamo.reset()
    masking = Masking(make_any(scale=0.5))
    compiled = torch.compile(masking, fullgraph=True, backend='eager')
    images = torch.randn(8, 3, 24, 32, generator=seeded())
    torch.manual_seed(0)
    masks = []
    for _ in range(4):
        visible, reused, draw = compiled(images)
        plain = masking(images, draw)
        assert torch.equal(visible, plain.visible)
        torch.testing.assert_close(reused, plain.reused)
        assert torch.equal(restore(visible, recompose(images, draw), draw), images)
        masks.append(draw.mask)
    assert not any(torch.equal(masks[0], mask) for mask in masks[1:])


@pytest.mark.parametrize('drawn_before', [True, False])
def test_one_graph_for_any_batch(drawn_before):
    torch._dynamo.reset()
    patterns = [PatchPattern(scale=0.5), GridPattern(scale=0.5, cell=[4, 8])]
    masking = Masking(MixturePattern(patterns, [0.4, 0.4]))
    if drawn_before:  # what an uncompiled call leaves behind makes no difference
        masking(torch.zeros(2, 3, 32, 32))
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(masking, fullgraph=True, backend=counter)
    for batch in (8, 8, 6, 5, 7, 8):  # the last batch of an epoch is often smaller
        images = torch.randn(batch, 3, 32, 32, generator=seeded())
        visible, reused, draw = compiled(images)
        assert torch.equal(visible, masking(images, draw).visible)
        torch.testing.assert_close(reused, masking(images, draw).reused)
    assert counter.frame_count == 2  # one for the first batch, one for any other


def test_through_autograd_and_functionalisation(make_images):
    torch._dynamo.reset()
    masking = Masking(half_the_samples(), TokenFill())
    compiled = torch.compile(masking, fullgraph=True, backend='aot_eager')
    images = make_images(8, 12, 12)
    visible, reused, draw = compiled(images)
    assert torch.equal(visible, masking(images, draw).visible)
    torch.testing.assert_close(reused, masking(images, draw).reused)
    visible.sum().backward()
    assert masking.fill.token.grad[0, 0, 0, 0] == draw.pixel_mask(12, 12).sum()


# --------------------------------------------------------------------------- on its own


def test_sources_import_torch_alone():
    allowed = {'torch', *sys.stdlib_module_names}
    for source in SOURCES.glob('*.py'):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f'{source.name} imports from outside of the masking algebra'
                names = set() if node.level else {node.module.partition('.')[0]}
            else:
                continue
            assert names <= allowed, f'{source.name} imports {names - allowed}'


def test_works_without_the_rest_of_the_package():
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location('alone', {str(SOURCES / '__init__.py')!r})
sys.modules['alone'] = alone = importlib.util.module_from_spec(spec)
spec.loader.exec_module(alone)
import torch
views = alone.Masking(alone.PatchPattern(scale=0.5))(torch.ones(2, 3, 32, 32))
assert views.visible.sum() == 2 * 3 * 24 * 32, views.visible.sum()
foreign = [name for name in sys.modules if name.partition('.')[0] in ('mmcv', 'mmengine', 'mmpretrain', 'mmmaskany')]
assert not foreign, foreign
"""
    subprocess.run([sys.executable, '-c', code], check=True)


# --------------------------------------------------------------------------- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', [torch.float, torch.half])
def test_gpu_never_waits(make_any, dtype, memory_format):
    masking = Masking(make_any(scale=0.5, base=4), ConstantFill([1.0, 2.0, 3.0])).cuda()
    images = torch.randn(8, 3, 64, 96, device='cuda', dtype=dtype).contiguous(memory_format=memory_format)
    masking(images)  # a new image size is laid out once
    torch.cuda.set_sync_debug_mode('error')
    try:
        visible, reused, draw = masking(images)
        masking(images, draw)
        image = restore(visible, recompose(images, draw), draw)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    for tensor in (visible, reused, draw.mask, draw.source, draw.masked):
        assert tensor.device == images.device
    assert visible.dtype == reused.dtype == dtype
    assert visible.is_contiguous(memory_format=memory_format) and reused.is_contiguous(memory_format=memory_format)
    masked = draw.pixel_mask(64, 96).expand_as(images)
    assert torch.equal(image[masked], images[masked]) and torch.equal(image, images)


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives(make_any):
    masking = Masking(make_any(scale=0.5, base=4))
    images = torch.randn(8, 3, 64, 96, generator=seeded())
    on_gpu = masking(images.cuda(), generator=torch.Generator('cuda').manual_seed(0))
    draw = on_gpu.draw
    moved = type(draw)(draw.mask.cpu(), draw.masked.cpu(), draw.base, draw.source.cpu())
    on_cpu = masking(images, moved)
    assert torch.equal(on_gpu.visible.cpu(), on_cpu.visible)
    torch.testing.assert_close(on_gpu.reused.cpu(), on_cpu.reused)
    again = masking(images.cuda(), generator=torch.Generator('cuda').manual_seed(0))
    assert torch.equal(again.visible, on_gpu.visible)
