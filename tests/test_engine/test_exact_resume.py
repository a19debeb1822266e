# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmmaskany.utils.safe_load import read_checkpoint

TRAIN = Path(__file__).resolve().parents[2] / 'tools' / 'train.py'


class Stop(BaseException):
    """Ends a run at once."""


@HOOKS.register_module()
class StopHook(Hook):
    """Ends a run before one of its iterations."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise Stop


def assert_same_state(path, other, sections=('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')):
    """Compare the sections of two checkpoints bit for bit."""

    def assert_same(a, b):
        assert type(a) is type(b)
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            [assert_same(a[key], b[key]) for key in a]
        elif isinstance(a, list | tuple):
            assert len(a) == len(b)
            [assert_same(*pair) for pair in zip(a, b, strict=True)]
        else:
            assert a == b

    a, b = read_checkpoint(path), read_checkpoint(other)
    assert a['meta']['iter'] == b['meta']['iter']
    for section in sections:
        assert_same(a[section], b[section])


@pytest.fixture
def train_in_two_parts(tiny_config, tool, tmp_path):
    """Stop a training before an iteration, resume it, and return its work dir."""

    def run(stop_at, **changes):
        hooks = [dict(type='EMAHook', momentum=0.1), dict(type='StopHook', iteration=stop_at)]
        stopping = tiny_config('stopping', custom_hooks=hooks, **changes)
        with pytest.raises(Stop):
            tool('train')([stopping, '--work-dir', str(tmp_path / 'parts')])
        tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'parts'), '--resume'])
        return tmp_path / 'parts'

    return run


def test_kill_9_and_resume(tiny_config, tool, tmp_path):
    config, work_dir = tiny_config(randomness=dict(seed=None)), tmp_path / 'killed'
    endless = [sys.executable, str(TRAIN), config, '--work-dir', str(work_dir)]
    endless += ['--cfg-options', 'train_cfg.max_epochs=1000']
    process = subprocess.Popen(endless, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (work_dir / 'last_checkpoint').exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))  # the kill may have come late

    tool('train')([config, '--work-dir', str(work_dir), '--resume'])
    seed = read_checkpoint(work_dir / 'epoch_1.pth')['meta']['seed']  # drawn, and taken up again
    assert read_checkpoint(work_dir / 'epoch_2.pth')['meta']['seed'] == seed
    tool('train')([tiny_config(randomness=dict(seed=seed)), '--work-dir', str(tmp_path / 'whole')])
    assert_same_state(tmp_path / 'whole' / 'epoch_2.pth', work_dir / 'epoch_2.pth')


def test_another_seed_gives_other_weights(trained, tiny_config, tool, tmp_path):
    config = tiny_config(train_cfg=dict(max_epochs=1), randomness=dict(seed=1))
    tool('train')([config, '--work-dir', str(tmp_path), '--no-validate'])
    with pytest.raises(AssertionError):
        assert_same_state(trained / 'epoch_1.pth', tmp_path / 'epoch_1.pth')


@pytest.mark.parametrize('workers', [0, 1])
def test_neither_workers_nor_validation_matter(workers, trained, tiny_config, tool, tmp_path):
    config = tiny_config(train_dataloader=dict(num_workers=workers, persistent_workers=workers > 0))
    tool('train')([config, '--work-dir', str(tmp_path), '--no-validate'])
    assert_same_state(trained / 'epoch_2.pth', tmp_path / 'epoch_2.pth')


def test_middle_of_an_epoch(trained, train_in_two_parts):
    parts = train_in_two_parts(stop_at=10, default_hooks=dict(checkpoint=dict(by_epoch=False, interval=4)))
    assert_same_state(trained / 'epoch_2.pth', parts / 'iter_12.pth')


def test_accumulated_gradients(train_in_two_parts, tiny_config, tool, tmp_path):
    # Four iterations make a step, six an epoch: two are pending when its checkpoint is written.
    changes = dict(optim_wrapper=dict(accumulative_counts=4))
    parts = train_in_two_parts(stop_at=8, **changes)
    first = read_checkpoint(parts / 'epoch_1.pth')
    assert first['gradients']['head.fc.weight'].abs().sum() > 0
    assert 'gradients' not in read_checkpoint(parts / 'epoch_2.pth')  # the last iteration is always a step
    tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'whole')])
    assert_same_state(tmp_path / 'whole' / 'epoch_2.pth', parts / 'epoch_2.pth')


@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler'])
def test_iterations(sampler, train_in_two_parts, tiny_config, tool, tmp_path):
    changes = dict(
        train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=14, val_interval=5),
        train_dataloader=dict(sampler=dict(type=sampler)),
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=4)),
    )
    parts = train_in_two_parts(stop_at=9, **changes)
    tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'whole')])
    assert_same_state(tmp_path / 'whole' / 'iter_14.pth', parts / 'iter_14.pth')
