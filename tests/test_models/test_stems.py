# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import copy
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from mmmaskany.models.stems import (
    AddFusion,
    ConcatFusion,
    DualStem,
    Fusion,
    GatedFusion,
    build_fusion,
    find,
    find_stem,
    register_stem,
)


def build(cfg):
    import mmpretrain.models  # noqa: F401

    return MODELS.build(cfg)


def conv(stride):
    return nn.Conv2d(1, 1, kernel_size=1, stride=stride, bias=False)


# ---------------------------------------------------------------------- fusions


@pytest.mark.parametrize('fusion', [AddFusion(2), AddFusion(2, scaled=False), ConcatFusion(2)])
def test_fusions_start_as_the_addition(fusion):
    visible, reused = torch.randn(2, 3, 2, 4, 5)
    torch.testing.assert_close(fusion(visible, reused), visible + reused)


def test_gated_fusion_is_its_formula():
    torch.manual_seed(0)
    fusion = GatedFusion(2)
    nn.init.normal_(fusion.weight)
    nn.init.normal_(fusion.bias)
    nn.init.normal_(fusion.scale)
    visible, reused = torch.randn(2, 3, 2, 4, 5)
    weight = fusion.weight[:, :, 0, 0]
    logits = torch.einsum('oc,bchw->bohw', weight, torch.cat([visible, reused], 1)) + fusion.bias.view(1, -1, 1, 1)
    expected = visible + fusion.scale.view(-1, 1, 1) * torch.sigmoid(logits) * reused
    torch.testing.assert_close(fusion(visible, reused), expected)


def test_concat_fusion_is_a_matrix_of_both():
    fusion = ConcatFusion(1)
    with torch.no_grad():
        fusion.weight.copy_(torch.tensor([2.0, -3.0]).view(1, 2, 1, 1))
    out = fusion(torch.full((1, 1, 2, 2), 5.0), torch.full((1, 1, 2, 2), 7.0))
    assert out.unique().tolist() == [2 * 5 - 3 * 7]


@pytest.mark.parametrize('name', ['add', 'concat', 'gated'])
def test_silent_fusions_return_the_visible_input_and_learn(name):
    fusion = build_fusion(name, 3)
    assert not fusion.is_silent()
    fusion.silence()
    assert fusion.is_silent()
    visible, reused = torch.randn(2, 2, 3, 4, 4)
    assert torch.equal(fusion(visible, reused), visible)
    fusion(visible, reused).square().sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in fusion.parameters())


def test_plain_addition_cannot_be_silenced():
    with pytest.raises(ValueError, match='scaled=True'):
        AddFusion(3, scaled=False).silence()


def test_build_fusion_from_configs():
    assert build_fusion(dict(type='mmmaskany.AddFusion', scaled=False), 4).scale is None
    assert isinstance(build_fusion(dict(type='mmmaskany.GatedFusion'), 4), GatedFusion)
    built = ConcatFusion(4)
    assert build_fusion(built, 4) is built


@pytest.mark.parametrize('wrong', ['sum', dict(type='mmmaskany.SumFusion'), 3, None])
def test_unknown_fusion(wrong):
    with pytest.raises(ValueError, match=r"must be one of \['add', 'concat', 'gated'\].*but got"):
        build_fusion(wrong, 4)


# ---------------------------------------------------------------------- dual stem


def test_dual_stem_fuses_at_the_size_of_the_visible_features():
    stem = DualStem(conv(4), conv(2), AddFusion(1), stride=2)
    nn.init.constant_(stem.visible.weight, 2.0)
    nn.init.constant_(stem.reused.weight, 3.0)
    with stem.holding(torch.full((1, 1, 8, 4), 10.0)):
        out = stem(torch.ones(1, 1, 16, 8))
    assert out.shape == (1, 1, 4, 2)
    assert out.unique().tolist() == [2 * 1 + 3 * 10]


def test_dual_stem_resizes_the_reused_image_never_crops_it():
    stem = DualStem(conv(4), conv(2), AddFusion(1), stride=2)
    nn.init.zeros_(stem.visible.weight)
    nn.init.ones_(stem.reused.weight)
    image = torch.zeros(1, 1, 16, 16)
    image[..., 8:] = 1.0  # the right half survives in the right half
    with stem.holding(image):
        out = stem(torch.ones(1, 1, 16, 16))
    assert out.shape == (1, 1, 4, 4)
    assert out[0, 0, :, 0].eq(0).all() and out[0, 0, :, -1].eq(1).all()


def independent_stems(stem, image, half):
    """The paper's two ResNet stems, added, written as functions."""

    def layer(x, part, index, padding):
        conv, norm = (getattr(part, f'{kind}{index}') for kind in ('conv', 'bn'))
        x = F.conv2d(x, conv.weight, conv.bias, stride=2, padding=padding)
        return F.silu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5))

    visible = layer(layer(image, stem.visible, 1, 3), stem.visible, 2, 1)
    return visible + layer(half, stem.reused, 1, 3)


@pytest.mark.parametrize(('side', 'same'), [(224, True), (225, False), (226, False), (227, True)])
def test_nothing_that_fits_is_resized_and_files_of_format_1_keep_what_they_did(side, same):
    """A half of 113 px fits beside 225: both stems return 57. Until format 2 it became 114 px first."""
    torch.manual_seed(0)
    stem = (
        build(dict(type='mmmaskany.MaskResNet', depth=18, stem_channels=8, base_channels=4)).dual_stem.double().eval()
    )
    state = stem.state_dict()
    image, half = (torch.randn(2, 3, length, length, dtype=torch.float64) for length in (side, (side + 1) // 2))
    old, again = copy.deepcopy(stem), copy.deepcopy(stem)
    old.load_state_dict({name: tensor for name, tensor in state.items() if not name.endswith('_extra_state')})
    again.load_state_dict(old.state_dict())  # trained on and saved anew, it is still what it was
    assert (stem.format, old.format, again.format) == (3, 1, 1)

    def run(stem):
        with torch.no_grad(), stem.holding(half):
            return stem(image)

    with torch.no_grad():
        expected = independent_stems(stem, image, half)
        twice = tuple(2 * length for length in expected.shape[2:])
        resized = independent_stems(stem, image, F.interpolate(half, twice, mode='bilinear', align_corners=False))
    assert torch.equal(run(stem), expected)
    assert torch.equal(run(old), resized) and torch.equal(run(again), resized)
    assert torch.equal(run(old), run(stem)) == same


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='mmpretrain.ResNet', depth=18),
        dict(type='mmpretrain.ResNetV1d', depth=50),
        dict(type='mmpretrain.TIMMBackbone', model_name='resnet18', features_only=True),
        dict(type='mmpretrain.ShuffleNetV2'),
        dict(type='mmpretrain.Conformer', arch='tiny'),
    ],
    ids=lambda cfg: cfg.get('model_name', cfg['type']),
)
def test_no_pooling_of_stride_1_before_a_fusion_but_in_files_of_format_2(backbone):
    torch.manual_seed(0)
    stem = build(dict(type='mmmaskany.MaskAny', backbone=backbone)).dual_stem.eval()
    half = torch.rand(2, 3, 32, 32)
    unpooled = nn.Sequential(*list(stem.reused)[:-1])
    assert isinstance(stem.reused[-1].pooling, nn.MaxPool2d)
    with torch.no_grad():
        expected = unpooled(half)
        assert torch.equal(stem.reused(half), expected)
        old, again = copy.deepcopy(stem), copy.deepcopy(stem)
        old.set_extra_state(2)
        again.load_state_dict(old.state_dict())  # trained on and saved anew, it is still what it was
        pooled = F.max_pool2d(expected, 3, 1, 1)
        assert torch.equal(old.reused(half), pooled) and torch.equal(again.reused(half), pooled)
    assert not torch.equal(pooled, expected) and list(old.state_dict()) == list(stem.state_dict())


@pytest.mark.parametrize(
    ('backbone', 'side', 'size'),
    [
        (dict(type='mmpretrain.ResNet', depth=18), 65, 33),  # 17 from 65, and from 33 as it is
        (dict(type='mmpretrain.MobileNetV2', widen_factor=0.25), 65, 33),
        (dict(type='mmpretrain.RepVGG', arch='A0'), 65, 33),
        (dict(type='mmpretrain.ConvNeXt', arch='atto'), 65, 33),  # patches do not reach the border
        (dict(type='mmpretrain.ConvNeXt', arch='atto'), 63, 30),  # 15 patches from 63 px, but 16 from 32
        (dict(type='mmpretrain.VisionTransformer', arch='deit-tiny'), 63, 32),  # padded by the host to 64
        (dict(type='mmpretrain.VisionTransformer', arch='deit-tiny'), 65, 40),  # to 80
    ],
)
def test_a_reused_image_is_resized_only_where_its_features_do_not_fit(backbone, side, size):
    model = build(dict(type='mmmaskany.MaskAny', backbone=backbone))
    model.eval()
    seen = []
    model.dual_stem.reused.register_forward_pre_hook(lambda stem, images: seen.append(images[0].shape[-1]))
    with torch.no_grad():
        model(torch.randn(1, 3, side, side))
    assert seen == [size]


def test_dual_stem_of_stride_one_upsamples_the_features():
    stem = DualStem(conv(1), conv(1), AddFusion(1), stride=0.5)
    nn.init.ones_(stem.visible.weight)
    nn.init.ones_(stem.reused.weight)
    for side in (8, 9):
        with stem.holding(torch.ones(1, 1, 4, 4)):
            out = stem(torch.ones(1, 1, side, side))
        assert out.shape == (1, 1, side, side)
        assert out.unique().tolist() == [2]


def test_dual_stem_without_reused_image():
    with pytest.raises(RuntimeError, match='without a reused image'):
        DualStem(conv(4), conv(2), AddFusion(1))(torch.ones(1, 1, 8, 8))


def test_dual_stem_whose_stems_do_not_match():
    stem = DualStem(conv(4), conv(4), AddFusion(1), stride=2)
    with (
        pytest.raises(ValueError, match=r'\(1, 1, 4, 4\).*\(1, 1, 2, 2\).*half the stride'),
        stem.holding(torch.ones(1, 1, 8, 8)),
    ):
        stem(torch.ones(1, 1, 16, 16))


# ---------------------------------------------------------------------- finding the stem


@pytest.mark.parametrize(
    ('host', 'parts', 'stride', 'channels'),
    [
        (dict(type='mmpretrain.ResNet', depth=18), ('conv1', 'bn1', 'relu', 'maxpool'), 2, 64),
        (dict(type='mmpretrain.ResNet', depth=50, stem_channels=32), ('conv1', 'bn1', 'relu', 'maxpool'), 2, 32),
        (dict(type='mmpretrain.ResNetV1c', depth=50), ('stem', 'maxpool'), 2, 64),
        (dict(type='mmpretrain.ResNetV1d', depth=50), ('stem', 'maxpool'), 2, 64),
        (dict(type='mmpretrain.ResNeXt', depth=50), ('conv1', 'bn1', 'relu', 'maxpool'), 2, 64),
        (dict(type='mmpretrain.ResNet_CIFAR', depth=18), ('conv1', 'bn1', 'relu'), 0.5, 64),
    ],
)
def test_find_stem_of_the_resnet_family(host, parts, stride, channels):
    model = build(host)
    stem = find_stem(model)
    assert (stem.parts, stem.stride, stem.channels) == (parts, stride, channels)
    assert [name for name, _ in stem.reused.named_children()] == list(parts)
    image = torch.randn(2, 3, 64, 48)
    visible = image
    for part in parts:
        visible = getattr(model, part)(visible)
    reused = stem.reused(image[..., ::2, ::2])
    expected = visible.shape[-2:] if stride == 2 else [side // 2 for side in visible.shape[-2:]]
    assert list(reused.shape) == [2, channels, *expected]
    # The reused stem is a copy: the host's stem keeps its stride and its tensors.
    assert not {id(p) for p in stem.reused.parameters()} & {id(p) for p in model.parameters()}
    if hasattr(model, 'maxpool'):
        assert model.maxpool.stride == 2 and stem.reused.maxpool.stride == 1


def test_find_named_stem_halves_its_last_strided_layer():
    host = nn.Module()
    host.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, stride=(2, 2)))
    stem = find_stem(host, 'features')
    assert (stem.parts, stem.stride, stem.channels) == (('features',), 2, 16)
    assert stem.reused[0].stride == (2, 2) and stem.reused[2].stride == (1, 1)
    # Neither is padded: to return the size of the host's stem, the reused one is.
    size = host.features(torch.zeros(1, 3, 61, 61)).shape
    assert stem.reused(torch.zeros(1, 3, 2 * size[2], 2 * size[3])).shape == size


def test_find_stem_of_parallel_branches_halves_all_of_them():
    stem = find_stem(build(dict(type='mmpretrain.RepVGG', arch='A0', deploy=False)))
    assert (stem.parts, stem.stride, stem.channels) == (('stem',), 1, 48)
    block = stem.reused
    assert (block.stride, block.branch_3x3.conv.stride, block.branch_1x1.conv.stride) == (1, (1, 1), (1, 1))


def test_find_stem_pads_what_the_host_padded_less():
    model = build(dict(type='mmpretrain.PoolFormer', arch='s12'))
    stem = find_stem(model)
    assert (model.patch_embed.proj.padding, stem.reused.padding, stem.reused.stride) == ((2, 2), (3, 3), (2, 2))
    alexnet = find_stem(build(dict(type='mmpretrain.AlexNet')), 'features.0')  # 11 x 11 / 4, padding 2
    assert (alexnet.reused.stride, alexnet.reused.padding) == ((2, 2), (5, 5))
    assert alexnet.reused(torch.zeros(1, 3, 110, 110)).shape == (1, 64, 55, 55)


def test_find_stem_of_pooled_patches():
    host = nn.Module()
    host.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.MaxPool2d(2))
    stem = find_stem(host)
    image = torch.randn(1, 3, 8, 8)
    assert stem.stride == 1 and torch.equal(stem.reused(image), host.stem[0](image))


def test_find_stem_of_another_family():
    host = nn.Module()
    host.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
    with pytest.raises(ValueError, match=r"stem of Module is not known; it has \['body'\].*stem='body\.0'"):
        find_stem(host)


def test_find_stem_that_begins_by_cutting_patches():
    host = nn.Module()
    host.stem = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.GroupNorm(1, 8))  # as timm's ConvNeXt
    assert find_stem(host).parts == ('stem.0',)
    host.stem[0] = nn.Conv2d(3, 8, 7, stride=4, padding=3)  # patches that overlap
    assert find_stem(host).parts == ('stem',)


@pytest.mark.parametrize('name', ['', 'conv9'])
def test_find_stem_that_does_not_exist(name):
    with pytest.raises(ValueError, match=rf"no module named '{name}'.*it has \['conv1'"):
        find_stem(build(dict(type='mmpretrain.MobileNetV2')), name)


def test_find_stem_without_a_convolution():
    with pytest.raises(ValueError, match='must hold a convolution'):
        find_stem(build(dict(type='mmpretrain.ResNet', depth=18)), 'bn1')


def test_find_stem_that_changes_with_strides_in_one_direction_only():
    host = nn.Module()
    host.conv = nn.Conv2d(3, 8, 3, stride=(2, 1))
    with pytest.raises(ValueError, match=r'same strides, kernels and padding in both directions, but got \(2, 1\)'):
        find_stem(host, 'conv')


def test_find_stem_leaves_the_host_alone():
    model = build(dict(type='mmpretrain.SwinTransformer', arch='tiny'))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stem = find_stem(model)
    assert stem.halved == ('weight',) and stem.reused.weight.shape == (96, 3, 2, 2)
    assert model.patch_embed.projection.kernel_size == model.patch_embed.projection.stride == (4, 4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_fusion_of_other_channels_says_to_leave_them_out():
    for paper in (False, True):
        with pytest.raises(ValueError, match='must return the 4 channels .* but got channels=3: leave it out'):
            build_fusion(dict(type='mmmaskany.ConcatFusion', channels=3), 4, paper=paper)


def test_named_stem_must_be_one_module_that_takes_the_image():
    host = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1))
    with pytest.raises(ValueError, match='must take the image, of 3 channels .* but takes 8'):
        find_stem(host, '1')
    with pytest.raises(TypeError, match=r"must be the name of one module, but got \['0'\]"):
        find_stem(host, ['0'])


# ---------------------------------------------------------------------- fusions and families of anybody


class Half(Fusion):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, visible, reused):
        return (visible + reused) / 2


def test_a_fusion_needs_no_more_than_forward():
    fusion = build_fusion(dict(type=Half), 4)
    assert fusion.channels == 4 and not fusion.is_silent()
    visible = torch.rand(2, 4, 3, 3)
    assert float(fusion.openness(visible, -visible)) == pytest.approx(1)
    assert float(fusion.openness(visible, visible)) == 0
    with pytest.raises(ValueError, match='Half cannot be silenced, so it cannot adopt a plain checkpoint'):
        fusion.silence()
    state = torch.get_rng_state()
    build_fusion(dict(type=Half), 4)  # it is tried without a trace
    assert torch.equal(state, torch.get_rng_state())


class OfOne(Fusion):
    def __init__(self, channels):
        super().__init__()

    def forward(self, both):
        return both


class Wider(Half):
    def forward(self, visible, reused):
        return torch.cat([visible, reused], 1)


class Loud(Half):
    def silence(self):
        pass


class Liar(Loud):
    def is_silent(self):
        return True


@pytest.mark.parametrize(
    ('fusion', 'error', 'message'),
    [
        (nn.Conv2d(4, 4, 1), TypeError, 'fusion must be a Fusion, but got Conv2d'),
        (dict(type='mmmaskany.MeanFill'), TypeError, 'fusion must be a Fusion, but got MeanFill'),
        (Half, TypeError, r'got the class Half: write dict\(type=...\)'),
        (OfOne(4), ValueError, 'must take visible and reused features of 4 channels, but OfOne fails: '),
        (
            Wider(4),
            ValueError,
            r'return 4 channels .*, \(2, 4, 3, 5\) of \(2, 4, 3, 5\), but Wider returns \(2, 8, 3, 5\)',
        ),
        (Loud(4), ValueError, r'after silence\(\) a fusion must return the visible features .*, but Loud does not'),
        (Liar(4), ValueError, r'after silence\(\) a fusion must return the visible features .*, but Liar does not'),
    ],
    ids=str,
)
def test_a_fusion_of_another_interface_is_refused_when_built(fusion, error, message):
    with pytest.raises(error, match=message):
        build_fusion(fusion, 4)


def test_a_registered_row_is_found_in_any_host():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.front = nn.Sequential(OrderedDict(filters=nn.Conv2d(3, 8, 3, 2, 1), scale=nn.BatchNorm2d(8)))
            self.conv1 = nn.Conv2d(8, 8, 3, 2, 1)  # which would be taken for the stem of another family

    with pytest.raises(ValueError, match='must take the image'):
        find_stem(Net())
    before = list(find._registered)
    try:
        register_stem('front.filters', 'front.scale')
        register_stem('front.filters', 'front.scale')  # its module was imported again
        assert len(find._registered) == len(before) + 1
        stem = find_stem(Net())
        assert stem.parts == ('front.filters', 'front.scale') and stem.reused.filters.stride == (1, 1)
    finally:
        find._registered[:] = before


@pytest.mark.parametrize(
    ('parts', 'host', 'error', 'message'),
    [
        ((), None, ValueError, 'must have at least one module'),
        (('conv', ''), None, ValueError, 'each with a name'),
        ((['conv'],), None, TypeError, r"must be names of modules, but got \['conv'\]"),
        (
            ('a.conv', 'b.norm'),
            None,
            ValueError,
            r"side by side in one module of the host, but got \('a.conv', 'b.norm'\)",
        ),
        (('conv',), nn.Identity(), TypeError, r'host must be a class of modules, but got Identity\(\)'),
        (('conv',), dict, TypeError, 'host must be a class of modules'),
    ],
)
def test_wrong_rows_are_refused(parts, host, error, message):
    with pytest.raises(error, match=message):
        register_stem(*parts, host=host)
