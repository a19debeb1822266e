# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from states import assert_same_state

from mmmaskany.checkpoints.protection import read_checkpoint


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


def test_a_drawn_seed_is_taken_up(train_in_two_parts, tiny_config, tool, tmp_path):
    parts = train_in_two_parts(stop_at=8, randomness=dict(seed=None))
    seed = read_checkpoint(parts / 'epoch_1.pth')['meta']['seed']
    assert read_checkpoint(parts / 'epoch_2.pth')['meta']['seed'] == seed
    tool('train')([tiny_config(randomness=dict(seed=seed)), '--work-dir', str(tmp_path / 'whole')])
    assert_same_state(tmp_path / 'whole' / 'epoch_2.pth', parts / 'epoch_2.pth')


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
    ours, theirs = (
        read_checkpoint(folder / 'epoch_2.pth')['message_hub']['log_scalars']['train/loss'].data[0].tolist()
        for folder in (tmp_path, trained)
    )
    assert len(ours) == 12 and ours == theirs  # loss by loss


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


@pytest.mark.parametrize('workers', [0, 2])  # without workers a sampler is first read when a batch is asked for
@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler'])
def test_iterations(sampler, workers, train_in_two_parts, tiny_config, tool, tmp_path):
    changes = dict(
        train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=14, val_interval=5),
        train_dataloader=dict(sampler=dict(type=sampler), num_workers=workers, persistent_workers=workers > 0),
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=4)),
    )
    parts = train_in_two_parts(stop_at=9, **changes)
    tool('train')([tiny_config(**changes), '--work-dir', str(tmp_path / 'whole')])
    assert_same_state(tmp_path / 'whole' / 'iter_14.pth', parts / 'iter_14.pth')
