# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import sys

import pytest
import torch
from mmengine.registry import init_default_scope

import mmmaskany.models  # noqa: F401

ops = pytest.importorskip('mmcv.ops')

BOXES = torch.tensor([[0, 1.0, 1.0, 9.0, 9.0], [1, 2.0, 3.0, 12.0, 14.0]])
ROTATED = torch.tensor([[0, 5.0, 5.0, 6.0, 6.0, 0.3], [1, 7.0, 8.0, 6.0, 5.0, 0.1]])
OFFSETS, MASKS = torch.randn(2, 18, 16, 16), torch.rand(2, 9, 16, 16)
OPERATORS = {
    'RoIAlign': lambda: (ops.RoIAlign(4, 1.0, 2), BOXES),
    'RoIAlign, max': lambda: (ops.RoIAlign(4, 1.0, 2, 'max'), BOXES),
    'RoIAlignRotated': lambda: (ops.RoIAlignRotated(4, 1.0, 2), ROTATED),
    'DeformConv2d': lambda: (ops.DeformConv2d(8, 4, 3, padding=1), OFFSETS),
    'ModulatedDeformConv2d': lambda: (ops.ModulatedDeformConv2d(8, 4, 3, padding=1), OFFSETS, MASKS),
}


@pytest.mark.parametrize('name', OPERATORS)
def test_the_order_of_memory_does_not_matter(name):
    operator, *others = OPERATORS[name]()
    found = []
    maps = torch.randn(2, 8, 16, 16)
    for order in (torch.contiguous_format, torch.channels_last):
        given = maps.clone(memory_format=order).requires_grad_()
        assert given.is_contiguous() == (order is torch.contiguous_format)
        result = operator(given, *(other.clone() for other in others))
        (result * torch.linspace(0, 1, result.numel()).view_as(result)).sum().backward()
        found.append((result.detach(), given.grad))
    for one, other in zip(*found, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, other)


def test_a_contiguous_map_is_passed_as_it_is(monkeypatch):
    seen, library = [], sys.modules['mmcv.ops.roi_align'].ext_module
    forward = library.roi_align_forward
    monkeypatch.setattr(
        library, 'roi_align_forward', lambda *args, **rest: seen.append(args[0]) or forward(*args, **rest)
    )
    maps = torch.randn(2, 8, 16, 16)
    ops.RoIAlign(4, 1.0, 2)(maps, BOXES)
    assert seen[0].data_ptr() == maps.data_ptr()


def test_regions_of_a_network_that_returns_channels_last():
    from mmdet.registry import MODELS

    init_default_scope('mmdet')
    backbone = dict(type='mmpretrain.TIMMBackbone', model_name='convnext_atto', features_only=True)
    levels = MODELS.build(backbone)(torch.randn(2, 3, 64, 64))
    pyramid = MODELS.build(dict(type='FPN', in_channels=[40, 80, 160, 320], out_channels=8, num_outs=4))(levels)
    assert not any(level.is_contiguous() for level in pyramid[:3])
    regions = MODELS.build(
        dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=4, sampling_ratio=2),
            out_channels=8,
            featmap_strides=[4, 8, 16, 32],
        )
    )
    boxes = BOXES * torch.tensor([1, 4, 4, 4, 4])
    torch.testing.assert_close(
        regions(tuple(pyramid), boxes), regions(tuple(level.contiguous() for level in pyramid), boxes)
    )
