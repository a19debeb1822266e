# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Merging both stems: equal outputs, by the plain networks of mmpretrain, timm and torchvision."""

import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from test_families import FAMILIES, PATCHES, flat, trained
from torch import nn

import mmmaskany
from mmmaskany.models.backbones import MaskAny, NotMergeableError
from mmmaskany.models.stems import AddFusion

VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def shake_stems(model):
    """Let the reused stem contribute, and be no copy of the other any more."""
    with torch.no_grad():
        for part in (model.dual_stem.reused, model.dual_stem.fusion):
            for parameter in part.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.eval()
    return model


def largest(outputs, others):
    return max((a - b).abs().max().item() for a, b in zip(flat([outputs]), flat([others]), strict=True))


def test_kernel_by_hand():
    model = shake_stems(MaskAny(dict(FAMILIES['VisionTransformer'][0])))
    stem = model.dual_stem
    merged = mmmaskany.merge_stems(model).patch_embed.projection
    kernel = torch.zeros(16, 3, 16, 16)
    for row in range(16):
        for column in range(16):
            kernel[:, :, row, column] = stem.reused.weight[:, :, row // 2, column // 2] / 4
    scale = stem.fusion.scale
    torch.testing.assert_close(merged.weight, stem.visible.weight + scale.view(-1, 1, 1, 1) * kernel)
    torch.testing.assert_close(merged.bias, stem.visible.bias + scale * stem.reused.bias)


@pytest.mark.parametrize('fusion', ['add', 'concat'])
@pytest.mark.parametrize('name', PATCHES)
def test_the_plain_host_of_mmpretrain_loads_it(name, fusion):
    cfg = FAMILIES[name][0]
    model = shake_stems(MaskAny(trained(MODELS.build(copy.deepcopy(cfg))), fusion=fusion))
    before = copy.deepcopy(model.state_dict())
    side = 56 if name == 'DeiT3' else 64  # patches of 14 px
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = model(images)
        merged = mmmaskany.merge_stems(model)
        plain = MODELS.build(copy.deepcopy(cfg))
        missing = plain.load_state_dict(merged.state_dict(), strict=False).missing_keys
        plain.eval()
        assert not [key for key in missing if not key.endswith(('relative_position_index', 'relative_coords_table'))]
        assert type(merged) is type(plain) and list(merged.state_dict()) == list(plain.state_dict())
        for network in (merged, plain):
            torch.testing.assert_close(flat(network(images)), flat(expected), rtol=0, atol=1e-5)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())  # left as it was


def timm_networks():
    timm = pytest.importorskip('timm')
    small = dict(img_size=64, num_classes=5)
    yield timm.models.VisionTransformer(embed_dim=16, depth=1, num_heads=2, patch_size=16, **small)
    yield timm.models.Beit(embed_dim=16, depth=1, num_heads=2, patch_size=16, **small)
    yield timm.models.VisionTransformerDistilled(embed_dim=16, depth=1, num_heads=2, patch_size=16, **small)
    yield timm.models.SwinTransformer(embed_dim=12, depths=(1, 1), num_heads=(1, 2), window_size=4, **small)
    yield timm.models.ConvNeXt(depths=(1,) * 4, dims=(8, 8, 16, 16), num_classes=5)


def torchvision_networks():
    from torchvision.models import ConvNeXt, SwinTransformer, VisionTransformer
    from torchvision.models.convnext import CNBlockConfig

    yield VisionTransformer(64, 16, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    yield SwinTransformer([4, 4], 12, [1, 1], [1, 2], [4, 4], num_classes=5)
    yield ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5)


@pytest.mark.parametrize('networks', [timm_networks, torchvision_networks])
def test_timm_and_torchvision_load_it(networks):
    for plain in networks():
        trained(plain)
        model = shake_stems(mmmaskany.wrap(copy.deepcopy(plain)))
        images = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            expected = model(images)
            assert largest(plain(images), expected) > 1e-3
            plain.load_state_dict(mmmaskany.merge_stems(model).state_dict())  # strict
            assert largest(plain(images), expected) < 1e-5, type(plain)


def test_sizes_that_the_patches_do_not_divide_are_close_only():
    model = shake_stems(MaskAny(dict(FAMILIES['ConvNeXt'][0])))
    merged = mmmaskany.merge_stems(model)
    with torch.no_grad():
        for size, equal in (((64, 64), True), ((68, 92), True), ((66, 64), True), ((63, 65), False)):
            rows, columns = (torch.linspace(0, 3, side) for side in size)
            images = (rows.sin().view(-1, 1) * columns.cos()).expand(2, 3, *size)  # smooth, as photographs are
            assert (largest(model(images), merged(images)) < 1e-5) == equal, size
            assert [level.shape for level in model(images)] == [level.shape for level in merged(images)]


@pytest.mark.parametrize('fusion', ['add', 'concat'])
def test_the_vit_of_the_paper(fusion):
    cfg = dict(arch=VIT, img_size=64)
    model = shake_stems(MODELS.build(dict(cfg, type='mmmaskany.MaskVisionTransformer', fusion=fusion)))
    plain = MODELS.build(dict(cfg, type='mmpretrain.VisionTransformer'))
    plain.load_state_dict(mmmaskany.merge_stems(model).state_dict())
    plain.eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(plain(images), model(images), rtol=0, atol=1e-5)


def test_a_silent_stem_is_left_out_of_any_network():
    plain = trained(MODELS.build(dict(type='mmpretrain.ResNet', depth=18)))
    model = mmmaskany.wrap(copy.deepcopy(plain))
    merged = mmmaskany.merge_stems(nn.ModuleDict(dict(backbone=model))).backbone
    assert type(merged) is type(plain)
    assert all(torch.equal(tensor, merged.state_dict()[key]) for key, tensor in plain.state_dict().items())


def test_large_weights_are_compared_by_their_size():
    model = shake_stems(MaskAny(dict(FAMILIES['ConvNeXt'][0])))
    with torch.no_grad():
        model.dual_stem.fusion.scale.mul_(1e9)
    mmmaskany.merge_stems(model)


class Squared(AddFusion):
    """A fusion that claims to be what it is not."""

    def forward(self, visible, reused):
        return super().forward(visible, reused.square())


@pytest.mark.parametrize(
    ('host', 'options', 'message'),
    [
        (dict(type='mmpretrain.ResNet', depth=18), {}, 'MaskAnyResNet.*Conv2d, BatchNorm2d, ReLU, MaxPool2d'),
        (FAMILIES['PoolFormer'][0], {}, r'must cut patches that do not overlap, but has the kernel \(7, 7\)'),
        (FAMILIES['VisionTransformer'][0], dict(fusion='gated'), 'fusion must be linear.*GatedFusion'),
        (FAMILIES['VisionTransformer'][0], dict(fusion=Squared(16)), 'Squared says that it is linear'),
        (FAMILIES['VisionTransformer'][0], dict(fuse_at='neck'), 'no second stem to merge'),
    ],
)
def test_what_cannot_be_merged_says_so(host, options, message):
    model = MaskAny(dict(copy.deepcopy(host)), **options)
    if model.dual_stem is not None:
        shake_stems(model)
    with pytest.raises(NotMergeableError, match=message):
        mmmaskany.merge_stems(model)


def test_norms_between_stem_and_fusion_and_plain_networks():
    swin = dict(arch=dict(embed_dims=8, depths=[1] * 4, num_heads=[1] * 4), img_size=64, window_size=2)
    with pytest.raises(NotMergeableError, match='Conv2d, LayerNorm2d lie between'):
        mmmaskany.merge_stems(MODELS.build(dict(swin, type='mmmaskany.MaskSwinTransformer')))
    with pytest.raises(NotMergeableError, match='must have a second stem, but Conv2d has none'):
        mmmaskany.merge_stems(nn.Conv2d(3, 8, 1))
