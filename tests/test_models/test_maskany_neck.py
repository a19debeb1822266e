# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.registry import init_default_scope

from mmmaskany.models import BranchLevels, MaskAny, MaskAnyNeck
from mmmaskany.models.stems import AddFusion, ConcatFusion
from mmmaskany.registry import MODELS

GAP = dict(type='mmpretrain.GlobalAveragePooling')


def test_levels_are_aligned_and_added_one_by_one():
    neck = MaskAnyNeck([1, 2])
    visible = (torch.zeros(1, 1, 4, 4), torch.full((1, 2, 2, 2), 10.0))
    # Bilinear by 2: the outer quarter of a row holds the outer value, the inner ones mix at 3:1.
    reused = (torch.tensor([[[[0.0, 4.0], [0.0, 4.0]]]]), torch.full((1, 2, 1, 1), 5.0))
    first, second = neck(BranchLevels(visible, reused))
    assert torch.equal(first, torch.tensor([0.0, 1.0, 3.0, 4.0]).expand(1, 1, 4, 4))
    assert torch.equal(second, torch.full((1, 2, 2, 2), 15.0))


def test_levels_of_one_size_are_not_resized():
    visible, reused = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 5, 7)
    (fused,) = MaskAnyNeck(3)(BranchLevels([visible], [reused]))
    assert torch.equal(fused, visible + reused)


def test_inner_neck_gets_the_fused_levels():
    neck = MaskAnyNeck([1, 1], neck=GAP)
    visible = (torch.tensor([[[[1.0, 3.0]]]]), torch.full((1, 1, 1, 1), 7.0))
    reused = (torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 1.0))
    assert [out.tolist() for out in neck(BranchLevels(visible, reused))] == [[[4.0]], [[8.0]]]


def test_branches_go_through_the_inner_neck_too_and_the_fused_one_is_last():
    neck = MaskAnyNeck(1, neck=GAP, with_branches=True)
    outs = neck(BranchLevels([torch.tensor([[[[1.0, 3.0]]]])], [torch.full((1, 1, 1, 1), 10.0)]))
    assert [out.tolist() for out in outs] == [[[2.0]], [[10.0]], [[12.0]]]


def test_branches_without_inner_neck_are_the_levels_themselves():
    visible, reused = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 2, 2)
    outs = MaskAnyNeck([2], with_branches=True)(BranchLevels([visible], [reused]))
    assert len(outs) == 3
    assert outs[0] is visible and outs[1] is reused


@pytest.mark.parametrize(
    ('fusion', 'kind'),
    [
        ('add', AddFusion),
        ('concat', ConcatFusion),
        (dict(type='mmmaskany.AddFusion', scaled=False), AddFusion),
    ],
)
def test_each_level_has_its_own_fusion(fusion, kind):
    neck = MaskAnyNeck([2, 2], fusion=fusion)
    assert [type(module) for module in neck.fusions] == [kind, kind]
    assert neck.fusions[0] is not neck.fusions[1]
    visible, reused = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(neck(BranchLevels([visible] * 2, [reused] * 2))[1], visible + reused)


def test_channels_last_stays_channels_last():
    visible = torch.randn(2, 4, 8, 8).to(memory_format=torch.channels_last)
    reused = torch.randn(2, 4, 4, 4).to(memory_format=torch.channels_last)
    (fused,) = MaskAnyNeck(4)(BranchLevels([visible], [reused]))
    assert fused.is_contiguous(memory_format=torch.channels_last)


def test_vectors_are_fused_as_they_are():
    visible, reused = torch.randn(2, 3), torch.randn(2, 3)
    (fused,) = MaskAnyNeck(3, fusion='concat')(BranchLevels([visible], [reused]))
    torch.testing.assert_close(fused, visible + reused)


LEVELS = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 2, 2)]


@pytest.mark.parametrize(
    ('visible', 'reused', 'message'),
    [
        (LEVELS[:1], LEVELS, r'names 2 level\(s\), but the backbone returns 1 of the visible image'),
        (LEVELS, LEVELS * 2, r'names 2 level\(s\), but the backbone returns 4 of the reused image'),
        (LEVELS[:1] * 2, LEVELS, r'visible image must have \(2, 3\) channels, but got \(2, 2\)'),
        (LEVELS, LEVELS[:1] * 2, r'reused image must have \(2, 3\) channels, but got \(2, 2\)'),
        ([torch.zeros(1, 5, 2)] * 2, LEVELS, r'must be feature maps .* or vectors .* \[\(1, 5, 2\), \(1, 5, 2\)\]'),
        ([LEVELS, LEVELS], LEVELS, r"vectors \(B, C\), but got \['list', 'list'\]"),
    ],
)
def test_wrong_levels_are_refused(visible, reused, message):
    with pytest.raises(ValueError, match=message):
        MaskAnyNeck([2, 3])(BranchLevels(visible, reused))


def test_levels_are_no_pair_by_their_number():
    with pytest.raises(TypeError, match="fuse_at='neck' returns, the BranchLevels of both images, but got a tuple"):
        MaskAnyNeck([2, 3])((*LEVELS, *LEVELS))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="fusion must be one of .* but got 'multiply'"):
        MaskAnyNeck(4, fusion='multiply')
    with pytest.raises(ValueError, match='at least one level'):
        MaskAnyNeck([])


def test_with_a_backbone_fused_at_the_neck():
    torch.manual_seed(0)
    backbone = MaskAny(
        dict(type='mmpretrain.ResNet', depth=18, out_indices=(2, 3)),
        fuse_at='neck',
        masking=dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8)),
    )
    neck = MaskAnyNeck([256, 512], neck=GAP)
    outs = neck(backbone(torch.randn(2, 3, 64, 64)))
    assert [tuple(out.shape) for out in outs] == [(2, 256), (2, 512)]
    sum(out.sum() for out in outs).backward()
    assert backbone.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('scope', 'fpn'),
    [
        ('mmdet', dict(type='mmdet.FPN', in_channels=[4, 8], out_channels=6, num_outs=3)),
        ('mmseg', dict(type='mmseg.FPN', in_channels=[4, 8], out_channels=6, num_outs=3)),
    ],
)
def test_inner_fpn_of_the_other_libraries(scope, fpn):
    pytest.importorskip(scope)
    init_default_scope(scope)
    try:
        neck = MODELS.build(dict(type='mmmaskany.MaskAnyNeck', in_channels=[4, 8], neck=fpn))
    finally:
        init_default_scope('mmpretrain')
    neck.init_weights()
    visible = (torch.randn(1, 4, 16, 16), torch.randn(1, 8, 8, 8))
    reused = (torch.randn(1, 4, 8, 8), torch.randn(1, 8, 4, 4))
    outs = neck(BranchLevels(visible, reused))
    assert [tuple(out.shape) for out in outs] == [(1, 6, 16, 16), (1, 6, 8, 8), (1, 6, 4, 4)]
    plain = MaskAnyNeck([4, 8])(BranchLevels(visible, reused))
    for out, expected in zip(outs, neck.neck(plain), strict=True):
        assert torch.equal(out, expected)
