# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Reuse that is aligned, in networks: the second stem's features lie where their cells came from."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from putting_back import slowly
from torch import nn

from mmmaskany.masking import Masking, MixturePattern, PatchPattern, RandomPattern, Views, half_size
from mmmaskany.models.backbones import MaskAny
from mmmaskany.models.classifiers import MaskSubClassifier
from mmmaskany.models.stems import AddFusion, DualStem
from mmmaskany.registry import TRANSFORMS

#: Backbones with the strides of their visible stem and of the reused one, base cells and a size of images.
HOSTS = {
    'ResNet': (dict(type='mmpretrain.ResNet', depth=18), (4, 2), 4, 64),
    'ResNet, odd': (dict(type='mmpretrain.ResNet', depth=18), (4, 2), 4, 58),
    'ResNet_CIFAR': (dict(type='mmpretrain.ResNet_CIFAR', depth=18), (1, 1), 1, 16),
    'Swin': (dict(type='mmpretrain.SwinTransformer', arch='tiny', pad_small_map=True), (4, 2), 4, 64),
    'ConvNeXt': (dict(type='mmpretrain.ConvNeXt', arch='atto'), (4, 2), 4, 64),
    'ViT': (dict(type='mmpretrain.VisionTransformer', arch='deit-tiny', img_size=64), (16, 8), 4, 64),
    'EfficientNet': (dict(type='mmpretrain.EfficientNet', arch='b0'), (2, 1), 2, 32),
}
R18 = HOSTS['ResNet'][0]


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def some(base, reuse='aligned'):
    """A masking of five or so samples of eight."""
    patterns = [PatchPattern(scale=0.5, base=base), RandomPattern(scale=0.5, cell=2 * base, base=base)]
    return Masking(MixturePattern(patterns, [0.3, 0.3]), reuse=reuse)


def watched(model, run):
    """Run a model and return what its reused stem returned, and what its fusion took of it."""
    seen = []
    with (
        model.dual_stem.reused.register_forward_hook(lambda stem, args, output: seen.append(output.clone())),
        model.dual_stem.fusion.register_forward_pre_hook(lambda fusion, args: seen.append(args[1].clone())),
    ):
        run()
    return seen


# ---------------------------------------------------------------------- where features lie


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('name', HOSTS)
def test_features_lie_where_their_cells_came_from(name, memory_format):
    host, strides, base, side = HOSTS[name]
    model = MaskAny(host, masking=some(base)).to(memory_format=memory_format)
    model.train()
    image = torch.randn(8, 3, side, side).to(memory_format=memory_format)
    views = model.views(image)
    masked = views.draw.masked
    assert 0 < masked.sum() < 8
    sizes = []
    with model.dual_stem.reused.register_forward_pre_hook(lambda stem, args: sizes.append(args[0].shape[2:])):
        features, fused = watched(model, lambda: model(views))
    expected = slowly(features, views.draw, fused.shape[2:], strides, sizes[0])
    assert expected[masked].any()
    torch.testing.assert_close(fused[masked].double(), expected[masked], rtol=0, atol=1e-5)
    # All others as ever.
    if strides == (1, 1):
        features = nn.functional.interpolate(features, scale_factor=2, mode='bilinear')
    assert torch.equal(fused[~masked], features[~masked])


def identity(stride):
    """A stem that returns the mean of each ``stride x stride`` pixels."""
    conv = nn.Conv2d(1, 1, stride, stride, bias=False)
    nn.init.constant_(conv.weight, 1 / stride**2)
    return conv


@pytest.mark.parametrize(('strides', 'stride'), [((1, 1), 0.5), ((2, 1), 1), ((4, 2), 2)])
def test_both_stems_together_see_the_whole_image(strides, stride):
    """Where stems are means, and what is masked is 0, the sum of both is the mean of the image, masked or not."""
    stem = DualStem(identity(strides[0]), identity(strides[1]), AddFusion(1), stride)
    image = torch.randn(8, 1, 32, 48)
    visible, reused, draw = some(2)(image)
    assert 0 < draw.masked.sum() < 8
    with torch.no_grad(), stem.holding(reused, draw):
        out = stem(visible)
    whole = stem.visible(image).detach()
    torch.testing.assert_close(out[draw.masked], whole[draw.masked])
    assert not torch.allclose(out[~draw.masked], whole[~draw.masked])  # there each stem sees the whole image
    # Stitched, the features are elsewhere.
    with torch.no_grad(), stem.holding(reused):
        assert not torch.allclose(stem(visible)[draw.masked], whole[draw.masked])


def test_a_patch_of_a_vision_transformer_takes_of_every_feature_its_cells_share():
    """One feature of 8 px is of four cells of 4 px, which may come from four patches: each takes a sixteenth."""
    model = MaskAny(HOSTS['ViT'][0], masking=Masking(RandomPattern(scale=0.5, cell=4), reuse='aligned'))
    model.train()
    views = model.views(torch.randn(1, 3, 64, 64))
    features, fused = watched(model, lambda: model(views))
    rows, cols = 16, 16
    expected = torch.zeros_like(fused)
    for i in range(rows):
        for j in range(cols):
            place = views.draw.places[0, i, j].item()
            if place >= 0:
                feature = features[0, :, place // 8 // 2, place % 8 // 2]
                expected[0, :, i // 4, j // 4] += feature / 16
    torch.testing.assert_close(fused, expected)


# ---------------------------------------------------------------------- what stays as it is


@pytest.mark.parametrize('name', HOSTS)
def test_evaluation_and_unmasked_samples_are_the_stitched_networks(name):
    host, _, base, side = HOSTS[name]
    aligned = MaskAny(host, masking=some(base))
    stitched = copy.deepcopy(aligned)
    stitched.masking = some(base, True)
    image = torch.randn(4, 3, side, side)
    for model in (aligned, stitched):
        model.eval()
    assert torch.equal(aligned(image)[-1], stitched(image)[-1])
    for model in (aligned, stitched):
        model.train()
        model.masking.pattern = MixturePattern([PatchPattern(scale=0.5, base=base)], [0.0])
        torch.manual_seed(0)
    unmasked = []
    for model in (aligned, stitched):
        torch.manual_seed(0)  # of drop paths
        unmasked.append(model(image)[-1])
    assert torch.equal(*unmasked)


@pytest.mark.parametrize('reuse', ['aligned', 'in_place'])
def test_a_draw_is_replayed_as_the_masking_says(reuse):
    model = MaskAny(R18, masking=some(4, reuse))
    model.train()
    image = torch.randn(8, 3, 64, 64)
    views = model.views(image)
    assert views.draw.aligned == (reuse == 'aligned')
    model.eval()
    assert torch.equal(model(views)[0], model(image, draw=views.draw)[0])
    stitched = copy.deepcopy(model)
    stitched.masking = some(4, True)
    assert not torch.equal(stitched(image, draw=views.draw)[0], model(views)[0])


def test_nothing_stays_in_the_stem():
    model = MaskAny(R18, masking=some(4))
    model.train()
    model(torch.randn(8, 3, 64, 64))
    assert model.dual_stem.draw is None
    views = model.views(torch.randn(8, 3, 64, 64))
    with pytest.raises(RuntimeError):
        model(Views(torch.randn(8, 5, 64, 64), torch.randn(8, 5, 32, 32), views.draw))
    assert model.dual_stem.draw is None and model.dual_stem.reused_image is None


def test_other_entries_of_a_network_align_as_well():
    timm = pytest.importorskip('timm')
    model = MaskAny(timm.create_model('vit_tiny_patch16_224', img_size=64), masking=some(4))
    model.train()
    features, fused = watched(model, lambda: model.forward_features(torch.randn(8, 3, 64, 64)))
    assert not torch.equal(features, fused)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize('name', HOSTS)
def test_both_stems_learn(name):
    host, _, base, side = HOSTS[name]
    model = MaskAny(host, masking=some(base))
    model.train()
    model(torch.randn(8, 3, side, side))[-1].square().sum().backward()
    for part in (model.dual_stem.visible, model.dual_stem.reused):
        gradients = [weight.grad for weight in part.parameters() if weight.dim() > 1]
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('name', ['ResNet', 'ResNet_CIFAR', 'ViT'])
def test_mixed_precision(name, memory_format):
    host, _, base, side = HOSTS[name]
    model = MaskAny(host, masking=some(base)).to(memory_format=memory_format)
    model.train()
    views = model.views(torch.randn(8, 3, side, side).to(memory_format=memory_format))
    _, full = watched(model, lambda: model(views))
    with torch.autocast('cpu', torch.bfloat16):
        _, half = watched(model, lambda: model(views)[-1].float().square().sum().backward())
    assert half.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(half.float(), full, rtol=0, atol=0.02 * full.abs().max().item())
    assert all(weight.grad.isfinite().all() for weight in model.dual_stem.reused.parameters())


def test_one_compiled_graph_of_a_stem():
    torch._dynamo.reset()
    stem, image = DualStem(identity(4), identity(2), AddFusion(1), 2), torch.randn(8, 1, 32, 32)
    visible, reused, draw = some(4)(image)
    with stem.holding(reused, draw):
        expected = stem(visible)
        compiled = torch.compile(stem, fullgraph=True, backend='aot_eager')(visible)
    torch.testing.assert_close(compiled, expected)


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize('fuse_at', ['levels', 'neck'])
def test_late_fusion_has_no_second_stem(fuse_at):
    message = f"puts the features of a second stem back .* fuse_at='{fuse_at}'"
    with pytest.raises(ValueError, match=message):
        MaskAny(R18, masking=some(4), fuse_at=fuse_at)
    model = MaskAny(R18, fuse_at=fuse_at)
    with pytest.raises(ValueError, match=message):  # masked elsewhere
        model(some(4)(torch.randn(2, 3, 64, 64)))
    assert MaskAny(R18, masking=some(4, 'in_place'), fuse_at=fuse_at)


def test_a_pipeline_brings_no_draw():
    pattern = dict(type='mmmaskany.PatchPattern', scale=0.5)
    for reuse in ('aligned', 'in_place'):
        with pytest.raises(ValueError, match=f"must be True or False in a data pipeline, but got '{reuse}'"):
            TRANSFORMS.build(dict(type='mmmaskany.MaskRegions', pattern=pattern, reuse=reuse))


@pytest.mark.parametrize('sub_masking', ['DropTokens', 'ReplacePatches'])
def test_tokens_are_masked_without_a_draw_of_cells(sub_masking):
    def build(reuse):
        backbone = dict(type='mmmaskany.MaskAny', backbone=HOSTS['ViT'][0], masking=some(4, reuse))
        head = dict(type='mmpretrain.VisionTransformerClsHead', num_classes=5, in_channels=192)
        return MaskSubClassifier(backbone, head=head, sub_masking=dict(type=f'mmmaskany.{sub_masking}'))

    with pytest.raises(ValueError, match=f"reuse='aligned' puts features back .* {sub_masking} masks tokens"):
        build('aligned')
    assert build('in_place') and build(True)


def test_a_ready_pair_without_a_draw_is_taken_as_it_is():
    model = MaskAny(R18, masking=some(4))
    model.train()
    image = torch.randn(2, 3, 64, 64)
    features, fused = watched(model, lambda: model(Views(image, half_size(image))))
    assert torch.equal(features, fused)
