# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest
import torch

from mmmaskany.checkpoints.protection import read_checkpoint


def statistics(checkpoint):
    state = read_checkpoint(checkpoint)['state_dict']
    kinds = ('running_mean', 'running_var', 'weight')
    return {name: value for name, value in state.items() if name.endswith(kinds) and '.bn1.' in name}


def test_statistics_stay_while_weights_learn(trained, tiny_config, tool, tmp_path):
    before = statistics(trained / 'epoch_2.pth')
    config = tiny_config(load_from=str(trained / 'epoch_2.pth'), custom_hooks=[dict(type='mmmaskany.FrozenNormHook')])
    tool('train')([config, '--work-dir', str(tmp_path / 'run')])
    after = statistics(tmp_path / 'run/epoch_2.pth')
    assert before.keys() == after.keys() and any(name.endswith('running_var') for name in before)
    for name in before:
        assert torch.equal(before[name], after[name]) == (not name.endswith('weight')), name


@pytest.mark.parametrize(
    ('part', 'error'), [('encoder', "has no 'encoder', only"), ('head', 'head of the model has no batch normalisation')]
)
def test_a_part_must_be_there_and_have_them(tiny_config, tool, tmp_path, part, error):
    config = tiny_config(custom_hooks=[dict(type='mmmaskany.FrozenNormHook', module=part)])
    with pytest.raises(ValueError, match=error):
        tool('train')([config, '--work-dir', str(tmp_path / part)])
    assert not list((tmp_path / part).glob('*.pth'))
