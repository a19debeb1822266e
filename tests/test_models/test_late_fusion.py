# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Late fusion: in the backbone level by level, or in the neck alone, and never half."""

import copy
import pickle

import late_fusion_training
import pytest
import torch
from late_fusion_training import TRAININGS, build, train, train_in_two_processes
from mmengine.model import BaseModule
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from test_families import FAMILIES, SIZES, VIT, flat, hosts  # noqa: F401
from torch import nn
from two_processes import second_process

from mmmaskany.masking import half_size
from mmmaskany.models import BranchLevels, MaskAny, MaskAnyClsHead, MaskAnyNeck
from mmmaskany.models.backbones.levels import Layout, as_map, fuse_level
from mmmaskany.models.stems import AddFusion, ConcatFusion, GatedFusion

GRID = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=4))
R18 = dict(type='mmpretrain.ResNet', depth=18)
SMALL_VIT = dict(type='mmpretrain.VisionTransformer', arch=VIT, img_size=32)


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


# ---------------------------------------------------------------------- level by level


@pytest.mark.parametrize('name', [name for name in FAMILIES if name != 'BEiTViT'])  # it takes one size only
def test_a_plain_checkpoint_keeps_its_function_bit_for_bit_and_trains_on(name, hosts):  # noqa: F811
    host = hosts[name]
    model = MaskAny(copy.deepcopy(FAMILIES[name][0]), masking=GRID, fuse_at='levels')
    model.load_state_dict(host.state_dict(), strict=False)
    assert {key for key in model.state_dict() if key not in host.state_dict()} == {
        f'level_fusions.{index}.scale' for index in range(len(model.level_fusions))
    }
    model.eval()
    # Strides and windows must fit half of the image, too.
    sizes = [(128, 128), (192, 128)] if name.startswith(('HRNet', 'Swin')) else SIZES[name]
    with torch.no_grad():
        for size in sizes:
            image = torch.randn(2, 3, *size)
            expected, got = host(image), model(image)
            assert type(got) is type(expected) and len(got) == len(expected)
            for level, other in zip(flat(got), flat(expected), strict=True):
                assert torch.equal(level, other)
            # Once open, the levels of the reused image are added at the size of the visible one's.
            for fusion in model.level_fusions:
                fusion.scale.data.fill_(0.5)
            assert not torch.equal(flat(model(image))[-1], flat(expected)[-1])
            for fusion in model.level_fusions:
                fusion.silence()
    model.train()
    sum(level.square().mean() for level in flat(model(torch.randn(2, 3, *sizes[0])))).backward()
    assert all(fusion.scale.grad.any() for fusion in model.level_fusions)


def test_levels_are_aligned_and_added_one_by_one():
    cfg = dict(**R18, out_indices=(1, 3))
    model, host = MaskAny(cfg, fuse_at='levels'), MODELS.build(cfg)
    host.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith('level_fusions.')})
    model.eval(), host.eval()
    with torch.no_grad():
        for index, scale in enumerate((2.0, 3.0)):
            model.level_fusions[index].scale.fill_(scale)
        image = torch.randn(2, 3, 75, 93)
        levels = zip(model(image), host(image), host(half_size(image)), (2.0, 3.0), strict=True)
        for fused, visible, reused, scale in levels:
            reused = nn.functional.interpolate(reused, visible.shape[2:], mode='bilinear', align_corners=False)
            torch.testing.assert_close(fused, visible + scale * reused)


@pytest.mark.parametrize(
    ('out_type', 'layout'),
    [
        ('raw', Layout('tokens', 16, 1)),
        ('cls_token', Layout('vector', 16)),
        ('avg_featmap', Layout('vector', 16)),
        ('featmap', Layout('map', 16)),
    ],
)
@pytest.mark.parametrize('fusion', ['add', 'concat', 'gated'])
def test_whatever_a_vit_returns_is_fused(out_type, layout, fusion):
    cfg = dict(type='mmpretrain.VisionTransformer', arch=VIT, img_size=64, out_type=out_type, out_indices=(0, 1))
    host, model = MODELS.build(cfg), MaskAny(cfg, fusion=fusion, fuse_at='levels', masking=GRID)
    assert model.level_layouts == [layout] * 2
    model.load_state_dict(host.state_dict())
    host.eval(), model.eval()
    for size in ((64, 64), (96, 64), (80, 112)):
        image = torch.randn(2, 3, *size)
        for level, other in zip(model(image), host(image), strict=True):
            assert torch.equal(level, other) and (level.is_contiguous() or layout.kind == 'map')
    model.train()
    sum(level.square().mean() for level in model(torch.randn(2, 3, 64, 96))).backward()
    assert all(any(p.grad.any() for p in fusion.parameters()) for fusion in model.level_fusions)


def test_tokens_are_aligned_as_maps_and_their_class_token_as_it_is():
    visible, reused = torch.randn(1, 1 + 4 * 6, 3), torch.randn(1, 1 + 2 * 3, 3)
    fused = fuse_level(AddFusion(3), Layout('tokens', 3, 1), visible, reused, ((64, 96), (32, 48)))
    torch.testing.assert_close(fused[:, 0], visible[:, 0] + reused[:, 0])
    grid = reused[:, 1:].view(1, 2, 3, 3).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(grid, (4, 6), mode='bilinear', align_corners=False)
    torch.testing.assert_close(as_map(fused, (64, 96), 1), as_map(visible, (64, 96), 1) + grid)


def test_maps_whose_channels_come_last():
    visible, reused = torch.randn(1, 4, 6, 3), torch.randn(1, 2, 3, 3)
    fused = fuse_level(ConcatFusion(3), Layout('map_last', 3), visible, reused)
    first = fuse_level(ConcatFusion(3), Layout('map', 3), visible.permute(0, 3, 1, 2), reused.permute(0, 3, 1, 2))
    torch.testing.assert_close(fused.permute(0, 3, 1, 2), first)
    assert fused.is_contiguous()


class Stub(BaseModule):
    """A host of the user's."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, 4)
        self.function = function

    def forward(self, x):
        return self.function(self.conv(x))


@pytest.mark.parametrize(
    ('function', 'kind', 'layouts'),
    [
        (lambda x: x, torch.Tensor, [Layout('map', 8)]),
        (lambda x: [x, x.permute(0, 2, 3, 1)], list, [Layout('map', 8), Layout('map_last', 8)]),
        (lambda x: ((x, x.mean((2, 3))),), tuple, [Layout('map', 8), Layout('vector', 8)]),
        (lambda x: (x.flatten(2).transpose(1, 2),), tuple, [Layout('tokens', 8)]),
    ],
)
def test_the_structure_of_what_the_host_returns_is_kept(function, kind, layouts):
    host = Stub(function)
    model = MaskAny(copy.deepcopy(host), fuse_at='levels')
    model.load_state_dict(host.state_dict())
    assert model.level_layouts == layouts
    image = torch.randn(2, 3, 48, 64)
    expected, got = host(image), model(image)
    assert isinstance(got, kind)
    one = isinstance(got, torch.Tensor)
    for level, other in zip(*(flat([each] if one else each) for each in (got, expected)), strict=True):
        assert torch.equal(level, other)


@pytest.mark.parametrize(
    ('host', 'message'),
    [
        (Stub(lambda x: (x.flatten(2),)), r'level 0 is of the shape \(1, 8, 4096\)'),
        (Stub(lambda x: (x, 'masks')), 'level 1 is of a str'),
        (
            dict(FAMILIES['BEiTViT'][0]),
            "at half its size, but it fails: .*Take fuse_at='stem' where it takes images of",
        ),
    ],
)
def test_what_cannot_be_fused_is_refused_when_built(host, message):
    with pytest.raises(ValueError, match=message):
        MaskAny(host, fuse_at='levels')


def test_images_whose_half_the_host_does_not_take():
    cfg = dict(FAMILIES['SwinTransformer'][0], window_size=4)
    model = MaskAny(cfg, fuse_at='levels')
    model.eval()
    assert len(model(torch.randn(1, 3, 256, 256))) == 1
    with pytest.raises(
        RuntimeError, match=r'reused image.*\(64, 64\) px, it fails: .*smaller than the window size.*stem'
    ):
        model(torch.randn(1, 3, 128, 128))


def test_a_built_fusion_is_not_shared_between_levels():
    model = MaskAny(dict(SMALL_VIT, out_indices=(0, 1)), fusion=AddFusion(16), fuse_at='levels')
    assert model.level_fusions[0] is not model.level_fusions[1]
    with pytest.raises(ValueError, match='must take visible and reused features of 256 channels, but AddFusion fails'):
        MaskAny(dict(**R18, out_indices=(2, 3)), fusion=AddFusion(512), fuse_at='levels')


def test_levels_that_the_fusions_were_not_built_for():
    model = MaskAny(R18, fuse_at='levels')
    model.out_indices = (2, 3)
    with pytest.raises(ValueError, match='built to return 1 level.*but returns 2: give out_indices when it is built'):
        model(torch.randn(2, 3, 64, 64))


def test_a_host_that_has_its_weights_keeps_its_function():
    host = MODELS.build(R18)
    host.is_init = True
    host.eval()
    image = torch.randn(1, 3, 64, 64)
    expected = host(image)[0]
    assert torch.equal(MaskAny(host, fuse_at='levels')(image)[0], expected)


def test_fewer_levels_of_a_classifier_start_a_detectors_anew(caplog):
    classifier = MaskAny(R18, fuse_at='levels')
    detector = MaskAny(dict(**R18, out_indices=(2, 3)), fuse_at='levels')
    detector.load_state_dict(classifier.state_dict())
    assert torch.equal(detector.conv1.weight, classifier.conv1.weight)
    assert all(fusion.is_silent() for fusion in detector.level_fusions)
    with pytest.raises(ValueError, match=r'4 have no place \(level_fusions.0.weight'):
        detector.load_state_dict(MaskAny(dict(**R18, out_indices=(2, 3)), 'gated', fuse_at='levels').state_dict())


@pytest.mark.parametrize(
    'host',
    [dict(type='mmpretrain.ResNet', depth=50), dict(FAMILIES['ConvNeXt'][0]), dict(FAMILIES['SwinTransformer'][0])],
)
def test_layer_decay_gives_the_fusions_the_rate_of_the_last_layer(host):
    model = MaskAny(host, fuse_at='levels')
    depth, layers = model.get_layer_depth('backbone.level_fusions.0.scale', 'backbone.')
    depths = [model.get_layer_depth(f'backbone.{name}', 'backbone.') for name in MODELS.build(host).state_dict()]
    assert depth == layers - 1 >= max(depth for depth, _ in depths) and depths[0] == (0, layers)


def test_hosts_without_layer_depths_get_none():
    assert not hasattr(MaskAny(dict(FAMILIES['MobileNetV2'][0]), fuse_at='levels'), 'get_layer_depth')


@pytest.mark.parametrize('fuse_at', ['levels', 'neck'])
def test_copies_pickles_and_frozen_stages(fuse_at):
    model = MaskAny(dict(**R18, frozen_stages=4), fuse_at=fuse_at)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.train()
        levels = other(torch.randn(2, 3, 64, 64))
        if fuse_at == 'levels':
            levels[0].sum().backward()
            assert other.level_fusions[0].scale.grad.any() and other.layer4[0].conv1.weight.grad is None


@pytest.mark.parametrize('fusion', ['add', 'concat', 'gated'])
def test_compiles_and_runs_in_lower_precision(fusion):
    model = MaskAny(R18, fusion=fusion, fuse_at='levels', masking=GRID)
    image = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    model.train()
    with torch.autocast('cpu', torch.bfloat16):
        compiled(image)[0].float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()
    torch.testing.assert_close(compiled(image)[0], model(image)[0])
    torch.testing.assert_close(torch.export.export(model, (image,)).module()(image)[0], model(image)[0])


# ---------------------------------------------------------------------- the levels of both images


def both():
    return BranchLevels([torch.randn(2, 4, 4, 4)], [torch.randn(2, 4, 2, 2)])


@pytest.mark.parametrize(
    'use',
    [
        len,
        list,
        tuple,
        bool,
        lambda levels: levels[-1],
        lambda levels: levels[:2],
        lambda levels: [level for level in levels],  # noqa: C416
        lambda levels: (*levels,),
        lambda levels: levels + levels,
        lambda levels: nn.functional.adaptive_avg_pool2d(levels, 1),
        lambda levels: nn.Linear(4, 2)(levels),
        MODELS.build(dict(type='mmpretrain.GlobalAveragePooling')),
        MODELS.build(dict(type='mmpretrain.GeneralizedMeanPooling')),
        MODELS.build(dict(type='mmpretrain.HRFuseScales', in_channels=(4, 8))),
        MODELS.build(dict(type='mmpretrain.LinearClsHead', num_classes=2, in_channels=4)),
        MODELS.build(dict(type='mmpretrain.VisionTransformerClsHead', num_classes=2, in_channels=4)),
        MaskAnyClsHead(num_classes=2, in_channels=4),
    ],
)
def test_nothing_but_the_neck_takes_the_levels_of_both_images(use):
    with pytest.raises(
        TypeError, match=r"fuse_at='neck' returns the levels of both.*MaskAnyNeck alone takes: add neck"
    ):
        use(both())


def test_they_are_no_tensor():
    with pytest.raises(AttributeError, match="'shape' of a tensor was asked for, but a backbone with fuse_at='neck'"):
        both().shape  # noqa: B018
    levels = both()
    for other in (copy.deepcopy(levels), pickle.loads(pickle.dumps(levels))):
        assert torch.equal(other.reused[0], levels.reused[0]) and torch.equal(other.visible[0], levels.visible[0])


def test_vectors_of_a_vit_through_the_neck():
    backbone = MaskAny(dict(type='mmpretrain.VisionTransformer', arch=VIT, img_size=64), fuse_at='neck', masking=GRID)
    outs = MaskAnyNeck(16, fusion='gated', with_branches=True)(backbone(torch.randn(2, 3, 64, 64)))
    assert [tuple(out.shape) for out in outs] == [(2, 16)] * 3


# ---------------------------------------------------------------------- checkpoints of the first release


def classifier(fuse_at, fusion='gated'):
    """A classifier whose neck has weights."""
    own = dict(type='mmpretrain.LinearNeck', in_channels=16, out_channels=8)
    neck = own if fuse_at == 'levels' else dict(type='mmmaskany.MaskAnyNeck', in_channels=16, fusion=fusion, neck=own)
    return MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='mmmaskany.MaskAny', backbone=SMALL_VIT, fuse_at=fuse_at, fusion=fusion),
            neck=neck,
            head=dict(type='mmpretrain.LinearClsHead', num_classes=2, in_channels=8),
        )
    )


@pytest.mark.parametrize('fusion', ['gated', dict(type='mmmaskany.AddFusion', scaled=False)])
@pytest.mark.parametrize('into', ['levels', 'neck'])
@pytest.mark.parametrize('source', ['neck', 'levels'])
def test_late_checkpoints_load_with_their_names_mapped(source, into, fusion, tmp_path):
    first, second = classifier(source, fusion), classifier(into, fusion)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    names = set(first.state_dict())
    fused = {name for name in names if 'fusions.0' in name}
    assert {name.rpartition('.')[0] for name in fused} <= {
        'neck.fusions.0' if source == 'neck' else 'backbone.level_fusions.0'
    }
    torch.save(dict(state_dict=first.state_dict()), tmp_path / 'late.pth')
    load_checkpoint(
        second, str(tmp_path / 'late.pth'), strict=True
    )  # as `load_from` does, but nothing may be left over
    first.eval(), second.eval()
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(second(image), first(image))
    assert set(first.state_dict()) == names


def test_names_are_mapped_in_late_fusion_only(tmp_path):
    neck, stem = classifier('neck'), classifier('levels')
    stem.backbone = MaskAny(SMALL_VIT)
    torch.save(dict(state_dict=neck.state_dict()), tmp_path / 'late.pth')
    with pytest.raises(RuntimeError, match='unexpected key in source state_dict: neck.fusions.0.scale'):
        load_checkpoint(stem, str(tmp_path / 'late.pth'), strict=True)


def test_gated_fusion_of_vectors_by_hand():
    fusion = GatedFusion(2)
    visible, reused = torch.randn(3, 2), torch.randn(3, 2)
    gate = torch.sigmoid(torch.cat([visible, reused], 1) @ fusion.weight[..., 0, 0].T + fusion.bias)
    torch.testing.assert_close(fuse_level(fusion, Layout('vector', 2), visible, reused), visible + gate * reused)


# ---------------------------------------------------------------------- distributed


def test_two_processes_train_as_one(tmp_path):
    with second_process(late_fusion_training.__file__, tmp_path):
        found = dict(zip(TRAININGS, train_in_two_processes(0, tmp_path), strict=True))
    # No head reads the first level: DDP waits for its fusion, unless it looks for what is not used.
    assert 'find_unused_parameters=True' in found.pop((False, (0, 3)))
    for (_, levels), state in found.items():
        alone, before = train(levels), build(levels).state_dict()
        torch.testing.assert_close(state, alone, rtol=1e-4, atol=1e-5)
        for index in range(len(levels)):
            name = f'backbone.level_fusions.{index}.scale'
            moved = (state[name] - before[name]).abs().max()
            assert moved > 1e-4 if index == len(levels) - 1 else moved == 0
