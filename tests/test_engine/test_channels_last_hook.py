# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.engine.hooks.channels_last_hook import ChannelsLastHook, unsafe_on_cpu


def network(stride=1, width=8):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 4, 1, stride)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_the_order_changes_and_values_do_not():
    plain, converted = network(), network()
    weights = [id(weight) for weight in converted.parameters()]
    ChannelsLastHook().before_run(SimpleNamespace(model=converted))
    assert [id(weight) for weight in converted.parameters()] == weights  # an optimizer keeps what it has
    images = torch.randn(2, 3, 8, 8)
    maps = [model[0](images) for model in (plain, converted)]
    assert maps[1].is_contiguous(memory_format=torch.channels_last) and not maps[1].is_contiguous()
    torch.testing.assert_close(*maps)
    for model in (plain, converted):
        model(images).square().sum().backward()
    for one, other in zip(plain.parameters(), converted.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_a_training_is_resumed_exactly(tiny_config, tool, tmp_path):
    # Shortcuts of average pooling and a convolution without stride; the others are refused below.
    changes = dict(
        model=dict(backbone=dict(backbone=dict(avg_down=True))),
        custom_hooks=[dict(type='mmmaskany.ChannelsLastHook'), dict(type='EMAHook', momentum=0.1)],
    )
    tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'whole')])
    stop = ['--cfg-options', 'train_cfg.max_epochs=1']
    tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'parts'), *stop])
    tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'parts'), '--resume'])
    whole, parts = (read_checkpoint(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'parts'))
    weight = whole['state_dict']['backbone.layer1.0.conv1.weight']
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, parts['state_dict'][name]), name


def test_a_training_that_would_overwrite_memory_is_refused(tiny_config, tool, tmp_path):
    config = tiny_config(custom_hooks=[dict(type='mmmaskany.ChannelsLastHook')])
    with pytest.raises(ValueError, match=r'ChannelsLastHook needs a GPU .* ImageClassifier has 2 on the CPU, backbone'):
        tool('train')([config, '--work-dir', str(tmp_path / 'run')])
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_what_is_unsafe_on_a_cpu():
    assert unsafe_on_cpu(network()) == []
    assert unsafe_on_cpu(network(stride=2)) == unsafe_on_cpu(network(stride=2, width=15)) == ['3']
    assert unsafe_on_cpu(network(stride=2, width=16)) == []
    with pytest.raises(ValueError, match='Sequential has 1 on the CPU, 3 the first: leave the hook out'):
        ChannelsLastHook().before_run(SimpleNamespace(model=network(stride=2)))
