# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Networks are told from the shapes of their tensors, whatever they are called."""

import json
import re

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from transformers_names import as_transformers

from mmmaskany.checkpoints.fingerprints import TABLE, fingerprint
from mmmaskany.checkpoints.reading import Weights, guess_network, guess_networks
from mmmaskany.experiments.networks import find_network

timm = pytest.importorskip('timm')
torchvision = pytest.importorskip('torchvision')


def file(state, path='weights.pth'):
    return Weights(dict(state), path, '', '', {}, None)


def of_timm(name, **options):
    with torch.device('meta'):
        return timm.create_model(name, **options).state_dict()


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('resnet50', {}),
        ('resnet50', dict(num_classes=7)),
        ('regnetx_004', {}),
        ('convnext_atto', {}),
        ('convnextv2_atto', {}),  # the kernels of the former
        ('vit_tiny_patch16_224', dict(num_classes=10)),
        ('vit_tiny_patch16_384', {}),  # positions tell it
        ('deit3_small_patch16_224', {}),  # its scales do
        ('beit_base_patch16_224', dict(num_classes=3)),
        ('swin_tiny_patch4_window7_224', dict(num_classes=3)),
        ('mobilenetv3_large_100', {}),
        ('efficientnet_b0', dict(num_classes=2)),
        ('densenet121', {}),
        ('vgg16', dict(num_classes=4)),
    ],
)
def test_networks_of_timm(name, options):
    assert guess_network(file(of_timm(name, **options))) == f'timm/{name}'


def test_other_publishers_files():
    with torch.device('meta'):
        assert guess_network(file(torchvision.models.resnet18().state_dict())) == 'timm/resnet18'
        assert guess_network(file(torchvision.models.vgg16().state_dict())) == 'timm/vgg16'
    vit = of_timm('vit_base_patch16_224')
    assert guess_network(file(as_transformers('vit')(vit))) == 'timm/vit_base_patch16_224'
    moco = {f'{part}.{name}': each for part in ('base_encoder', 'momentum_encoder') for name, each in vit.items()}
    assert guess_network(file(dict(moco, **{'predictor.0.weight': torch.ones(3, 3)}))) == 'timm/vit_base_patch16_224'
    pair = {f'{part}.{name}': each for part in ('backbone', 'neck') for name, each in of_timm('resnet18').items()}
    assert guess_network(file(pair)) == 'resnet18_8xb32_in1k'  # names of OpenMMLab: its hub comes first
    assert guess_network(file(nn.Linear(3, 4).state_dict())) is None


def test_the_name_of_the_file_decides_between_equals():
    deit = of_timm('deit_base_patch16_224')
    assert guess_network(file(deit)) == 'timm/vit_base_patch16_224'
    assert 'timm/deit_base_patch16_224' in guess_networks(file(deit))
    assert guess_network(file(deit, 'a/deit_base_patch16_224-b5f2ef4d.pth')) == 'timm/deit_base_patch16_224'


def test_mmpretrains_own_network_by_its_own_names():
    host = MODELS.build(dict(type='mmpretrain.ResNet', depth=18))
    state = {f'backbone.{name}': tensor for name, tensor in host.state_dict().items()}
    assert guess_network(file(dict(state, **{'head.fc.weight': torch.ones(5, 512)}))) == 'resnet18_8xb32_in1k'


def test_without_a_name_finetune_takes_the_library_that_takes_the_names(tmp_path):
    network = torchvision.models.mobilenet_v3_small()
    torch.save(network.state_dict(), tmp_path / 'a.pth')
    found = find_network(None, tmp_path / 'a.pth', dense=False, size=64)
    assert found.backbone['type'] == 'mmpretrain.MobileNetV3' and found.start
    torch.save(timm.create_model('vit_tiny_patch16_224').state_dict(), tmp_path / 'vit.pth')
    found = find_network(None, tmp_path / 'vit.pth', dense=False, size=224)
    assert found.name == 'timm/vit_tiny_patch16_224'
    assert re.search('may also be of .*deit_tiny_patch16_224.*: --model names another', ' '.join(found.said))


def test_the_table():
    table = json.loads(TABLE.read_text())
    assert sum(map(len, table.values())) > 500
    for kernels, names in table.items():
        assert re.fullmatch('[0-9a-f]{12}', kernels)
        assert all(re.fullmatch('[0-9a-f]{12}', rest) for rest in names.values())
    resnet = fingerprint(of_timm('resnet18'))
    assert table[resnet.kernels]['timm/resnet18'] == resnet.vectors + resnet.positions
