# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Kill -9, a full disk, half a file: what is left is good, and a resumed run does what an undisturbed one does."""

import os
import random
import shutil
import signal
import time

import faulty
import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from states import assert_same_state


@HOOKS.register_module()
class FullDeviceHook(Hook):
    """Lets a checkpoint run into a full disk: what is to become of it is written to /dev/full."""

    def __init__(self, epoch, name):
        self.epoch, self.name = epoch, name

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            os.symlink('/dev/full', os.path.join(runner.work_dir, f'.{self.name}.partial'))


def test_kills_at_random(start, loads, tiny_config, full, tmp_path):
    # Three epochs, a checkpoint after every other iteration, two kept; and the best one of three validations.
    hook = dict(by_epoch=False, interval=2, max_keep_ckpts=2, save_best='accuracy/top1')
    loader = dict(num_workers=0, persistent_workers=False)
    config = tiny_config(
        train_cfg=dict(max_epochs=3),
        default_hooks=dict(checkpoint=hook),
        train_dataloader=dict(num_workers=1),
        val_dataloader=loader,
    )
    begin = time.monotonic()
    assert start(config, '--work-dir', tmp_path / 'undisturbed').wait() == 0
    duration = time.monotonic() - begin

    choose, kills, killed, run = random.Random(0), 0, 0, None
    while kills < (20 if full else 3) or run is not None:
        run = run or tmp_path / f'run-{kills}'
        fault = {}
        if kills % 2 == 0:  # while a checkpoint is written (the fifth operation), named, pointed to, or deleted
            fault = dict(fault=faulty.kill_at_operation, fault_args=((4 + 7 * (kills // 2)) % 12, choose.random()))
        training = start(config, '--work-dir', run, '--resume', **(fault if kills < (20 if full else 3) else {}))
        if kills % 2 == 1 and kills < (20 if full else 3):  # at any time
            training.process.join(choose.uniform(0.2, duration))
            training.kill()
        status = training.wait()
        assert status in (0, -signal.SIGKILL), training.output[-3000:]
        names = loads(run) if run.exists() else []
        if status == 0:
            *best, last_but_one, last = names
            assert (last_but_one, last) == ('iter_16.pth', 'iter_18.pth')
            # A kill between writing a better one and deleting the one before leaves that.
            assert all(name.startswith('best_') for name in best) and 1 <= len(best) <= 1 + killed
            assert_same_state(tmp_path / 'undisturbed' / 'iter_18.pth', run / 'iter_18.pth')
            run, killed = None, 0
        else:
            kills, killed = kills + 1, killed + 1


def test_disk_that_is_full_from_some_point_on(start, loads, trained, tiny_config, tool, tmp_path):
    run, config = tmp_path / 'run', tiny_config()
    hooks = [dict(type='EMAHook', momentum=0.1), dict(type='FullDeviceHook', epoch=1, name='epoch_2.pth')]
    with pytest.raises(OSError, match=r'No space left on device\); what was there is untouched: .*epoch_2\.pth'):
        tool('train')([tiny_config('full', custom_hooks=hooks), '--work-dir', str(run), '--no-validate'])
    assert loads(run) == ['epoch_1.pth'] and not list(run.glob('.*.partial'))
    assert (run / 'last_checkpoint').read_text() == str(run / 'epoch_1.pth')
    tool('train')([config, '--work-dir', str(run), '--resume', '--no-validate'])
    assert_same_state(trained / 'epoch_2.pth', run / 'epoch_2.pth')


def test_disk_that_is_really_full(start, loads, trained, tiny_config, tool, tmp_path):
    if not faulty.can_mount():
        pytest.skip('this machine lets no process mount a disk of its own')
    run, rescued, config = tmp_path / 'run', tmp_path / 'rescued', tiny_config()
    size = int(1.6 * (trained / 'epoch_1.pth').stat().st_size)
    training = start(config, '--work-dir', run, fault=faulty.small_disk, fault_args=(str(run), size, str(rescued)))
    assert training.wait() == 1
    assert 'OSError: [Errno 28] cannot write' in training.output and 'epoch_2.pth' in training.output
    assert loads(rescued) == ['epoch_1.pth'] and not list(rescued.glob('.*.partial'))
    shutil.copytree(rescued, run, dirs_exist_ok=True)  # onto a larger disk
    tool('train')([config, '--work-dir', str(run), '--resume', '--no-validate'])
    assert_same_state(trained / 'epoch_2.pth', run / 'epoch_2.pth')


def test_latest_checkpoint_is_truncated(trained, tiny_config, tool, tmp_path, capfd):
    latest, good = tmp_path / 'epoch_2.pth', tmp_path / 'epoch_1.pth'
    shutil.copy(trained / 'epoch_1.pth', good)
    whole = (trained / 'epoch_2.pth').read_bytes()
    latest.write_bytes(whole[: len(whole) // 3])
    (tmp_path / 'last_checkpoint').write_text(str(latest))
    tool('train')([tiny_config(), '--work-dir', str(tmp_path), '--resume', '--no-validate'])
    said = ''.join(capfd.readouterr())
    assert f'checkpoint {latest} must be a complete PyTorch file, but is truncated' in said
    assert f'Resuming from {good}, the newest that loads' in said
    assert_same_state(trained / 'epoch_2.pth', latest)
