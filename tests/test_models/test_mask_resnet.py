# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, init_default_scope

from mmmaskany.masking import Views, half_size
from mmmaskany.models.backbones import MaskResNet

GRID = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=4))


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


@pytest.mark.parametrize(('depth', 'count'), [(34, 22_019_304), (50, 25_753_960), (101, 44_746_088)])
def test_parameter_counts_of_the_paper(depth, count):
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='mmmaskany.MaskResNet', depth=depth),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=512 if depth == 34 else 2048),
        )
    )
    assert sum(p.numel() for p in model.parameters()) == count


def reference_forward(state, blocks, bottleneck, visible, reused):
    """The paper's network, straight from its layer table, in evaluation mode."""

    def norm(x, name):
        mean, var, weight, bias = (state[f'{name}.{key}'] for key in ('running_mean', 'running_var', 'weight', 'bias'))
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-5)

    def conv(x, name, stride, padding):
        return F.conv2d(x, state[f'{name}.weight'], state.get(f'{name}.bias'), stride, padding)

    x = F.silu(norm(conv(visible, 'stem.visible.conv1', 2, 3), 'stem.visible.bn1'))
    x = F.silu(norm(conv(x, 'stem.visible.conv2', 2, 1), 'stem.visible.bn2'))
    x = x + F.silu(norm(conv(reused, 'stem.reused.conv1', 2, 3), 'stem.reused.bn1'))
    outs = []
    for stage, count in enumerate(blocks):
        for index in range(count):
            name = f'layer{stage + 1}.{index}'
            stride = 2 if stage and not index else 1
            if bottleneck:  # v1.5: the stride is in the 3 x 3
                y = F.silu(norm(conv(x, f'{name}.conv1', 1, 0), f'{name}.bn1'))
                y = F.silu(norm(conv(y, f'{name}.conv2', stride, 1), f'{name}.bn2'))
                y = norm(conv(y, f'{name}.conv3', 1, 0), f'{name}.bn3')
            else:
                y = F.silu(norm(conv(x, f'{name}.conv1', stride, 1), f'{name}.bn1'))
                y = norm(conv(y, f'{name}.conv2', 1, 1), f'{name}.bn2')
            if f'{name}.downsample.0.weight' in state:
                x = norm(conv(x, f'{name}.downsample.0', stride, 0), f'{name}.downsample.1')
            x = F.silu(y + x)
        outs.append(x)
    return outs


@pytest.mark.parametrize(
    ('depth', 'blocks'),
    [(18, (2, 2, 2, 2)), (34, (3, 4, 6, 3)), (50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))],
)
def test_outputs_are_those_of_the_papers_layers(depth, blocks):
    model = MaskResNet(depth, out_indices=(0, 1, 2, 3))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
    model.eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for pair in (Views(image, half_size(image)), Views(image, torch.randn(2, 3, 32, 48))):
            expected = reference_forward(model.state_dict(), blocks, depth >= 50, *pair[:2])
            for level, other in zip(model(pair), expected, strict=True):
                torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(image)[-1], model(Views(image, half_size(image)))[-1])


def test_the_stem_has_nothing_but_what_the_paper_says():
    stem = MaskResNet(50).stem
    shapes = {name: tuple(p.shape) for name, p in stem.named_parameters() if p.dim() == 4}
    assert shapes == {
        'visible.conv1.weight': (128, 3, 7, 7),
        'visible.conv2.weight': (128, 128, 3, 3),
        'reused.conv1.weight': (128, 3, 7, 7),
    }
    assert stem.visible.conv1.bias is None and stem.reused.conv1.bias is None and stem.visible.conv2.bias is not None
    assert not list(stem.fusion.parameters())


@pytest.mark.parametrize('fusion', ['add', 'concat', 'gated', dict(type='mmmaskany.ConcatFusion')])
def test_other_fusions(fusion):
    model = MaskResNet(18, fusion=fusion, masking=GRID)
    model.train()
    model(torch.randn(2, 3, 64, 64))[0].sum().backward()
    assert list(model.stem.fusion.parameters())
    assert all(p.grad is not None for p in model.stem.parameters())


def test_frozen_stages_freeze_both_stems():
    with pytest.warns(UserWarning, match='frozen_stages=-1'):
        model = MaskResNet(18, frozen_stages=0, masking=GRID)
    model.train()
    mean = model.stem.reused.bn1.running_mean.clone()
    model(torch.randn(2, 3, 32, 32))[0].sum().backward()
    assert all(p.grad is None for p in model.stem.parameters())
    assert torch.equal(mean, model.stem.reused.bn1.running_mean)
    assert model.layer1[0].conv1.weight.grad.any()


def test_plain_resnet_checkpoint_is_refused():
    with pytest.raises(ValueError, match='does not fit the backbone MaskResNet'):
        MaskResNet(18).load_state_dict(MODELS.build(dict(type='mmpretrain.ResNet', depth=18)).state_dict())


@pytest.mark.parametrize('size', [(64, 96), (70, 53)])
def test_output_stride_8_has_the_features_of_output_stride_32_in_between_others(size):
    plain = MaskResNet(50, base_channels=8, stem_channels=8, out_indices=(2, 3))
    dilated = MaskResNet(
        50,
        base_channels=8,
        stem_channels=8,
        out_indices=(2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
    )
    dilated.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        outs = dilated.eval()(image)
        for stride, level, expected in zip((2, 4), outs, plain.eval()(image), strict=True):
            assert level.shape[-2:] == tuple(math.ceil(side / 8) for side in size)
            torch.testing.assert_close(level[..., ::stride, ::stride], expected)


def test_unknown_depth():
    with pytest.raises(KeyError, match='invalid depth 20'):
        MaskResNet(20)


def test_last_norms_start_from_one_as_the_papers():
    network = MaskResNet(50, base_channels=8, stem_channels=8)
    network.init_weights()
    norms = [layer.norm3.weight for layer in network.modules() if hasattr(layer, 'norm3')]
    assert len(norms) == 16 and all((weight == 1).all() for weight in norms)
    plain = MaskResNet(50, base_channels=8, stem_channels=8, zero_init_residual=True)
    plain.init_weights()
    assert not any(layer.norm3.weight.any() for layer in plain.modules() if hasattr(layer, 'norm3'))
