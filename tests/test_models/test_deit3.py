# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""DeiT III against timm's, with the same weights, and the weights that mmpretrain's layers have trained."""

import copy
import re

import pytest
import torch
from mmengine.registry import MODELS
from timm.models.vision_transformer import VisionTransformer

from mmmaskany.checkpoints.mismatch import CheckpointMismatchError

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
NAMES = {
    r'patch_embed\.proj': 'patch_embed.projection',
    r'blocks\.(\d+)\.norm([12])': r'layers.\1.ln\2',
    r'blocks\.(\d+)\.attn\.(qkv|proj)': r'layers.\1.attn.\2',
    r'blocks\.(\d+)\.ls1\.gamma': r'layers.\1.attn.gamma1.weight',
    r'blocks\.(\d+)\.ls2\.gamma': r'layers.\1.ffn.gamma2.weight',
    r'blocks\.(\d+)\.mlp\.fc1': r'layers.\1.ffn.layers.0.0',
    r'blocks\.(\d+)\.mlp\.fc2': r'layers.\1.ffn.layers.1',
    r'^norm\.': 'ln1.',
}


def build(kind='mmmaskany.DeiT3', **changes):
    torch.manual_seed(0)
    return MODELS.build(dict(dict(type=kind, arch=ARCH, img_size=32, patch_size=8), **changes))


def randomised(model):
    """Give every parameter a value that it does not start from."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 5)
    model.eval()
    return model


@pytest.fixture
def timm_model():
    return randomised(
        VisionTransformer(
            img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2, num_classes=0, init_values=1e-4,
            no_embed_class=True,
        )
    )  # fmt: skip


def renamed(state):
    def rename(name):
        for pattern, here in NAMES.items():
            name = re.sub(pattern, here, name)
        return name

    return {rename(name): value for name, value in state.items()}


@pytest.mark.parametrize('around', [False, True], ids=['alone', 'MaskAny around it'])
def test_computes_what_timm_computes(timm_model, around):
    model = build()
    if around:
        model = MODELS.build(dict(type='mmmaskany.MaskAny', backbone=dict(type='mmpretrain.DeiT3', **_cfg())))
    model.load_state_dict(renamed(timm_model.state_dict()))
    model.eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images)[0], timm_model(images), rtol=1e-5, atol=1e-5)
        # The test tells them apart: mmpretrain's layers give other features.
        host = build('mmpretrain.DeiT3')
        host.load_state_dict(renamed(timm_model.state_dict()))
        host.eval()
        assert (host(images)[0] - timm_model(images)).abs().max() > 0.01


def _cfg():
    return dict(arch=copy.deepcopy(ARCH), img_size=32, patch_size=8)


def test_every_parameter_gets_a_gradient():
    model = build()
    model.train()
    model(torch.randn(2, 3, 32, 32))[0].square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_layer_scale_starts_as_published():
    model = build()
    for layer in model.layers:
        for gamma in (layer.attn.gamma1.weight, layer.ffn.gamma2.weight):
            torch.testing.assert_close(gamma.data, torch.full((16,), 1e-4))
    assert build(layer_scale=0.5).layers[1].ffn.gamma2.weight.eq(0.5).all()
    constant = build(layer_cfgs=dict(drop_path_rate=0.1))
    assert [layer.attn.out_drop.drop_prob for layer in constant.layers] == [0.1, 0.1]


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='mmmaskany.DeiT3', **_cfg()),
        dict(type='mmmaskany.MaskAny', backbone=dict(type='mmpretrain.DeiT3', **_cfg())),
    ],
    ids=['alone', 'MaskAny around it'],
)
def test_weights_that_were_trained_without_ln2_are_refused(cfg):
    host = build('mmpretrain.DeiT3')
    optimizer = torch.optim.SGD(host.parameters(), lr=0.1)
    host(torch.randn(2, 3, 32, 32))[0].square().sum().backward()
    optimizer.step()
    model = MODELS.build(cfg)
    with pytest.raises(CheckpointMismatchError, match=r"ln1 twice.*type='mmmaskany.DeiT3', unused_ln2=True"):
        model.load_state_dict(host.state_dict())
    model.load_state_dict(build('mmpretrain.DeiT3').state_dict())  # nothing in it was trained

    kept = build(unused_ln2=True)
    kept.load_state_dict(host.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(kept(images), host(images), rtol=0, atol=0)
