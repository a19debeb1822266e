# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""A lost process, a lost worker, a corrupt image, a NaN: training ends with a clear message and can be resumed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from states import assert_same_state

EMA = dict(type='EMAHook', momentum=0.1)


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


@pytest.fixture
def start_two(start):
    """Start two processes of one distributed training on this machine, without any launcher that would watch them."""

    def make(*argv):
        world = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port(), WORLD_SIZE='2', CUDA_VISIBLE_DEVICES='-1')
        return [
            start(*argv, '--launcher', 'pytorch', env=dict(world, RANK=str(rank), LOCAL_RANK=str(rank)))
            for rank in (0, 1)
        ]

    return make


def test_no_thread_of_gloo_outlives_a_finished_run(tiny_config, tmp_path):
    # Such a thread may abort a process that had finished: "terminate called without an active exception".
    config = tiny_config(train_cfg=dict(max_epochs=1))
    script = """
import runpy, sys, torch
from pathlib import Path

runpy.run_path('tools/train.py')['main']([sys.argv[1], '--work-dir', sys.argv[2], '--launcher', 'pytorch'])
threads = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]
print('left:', torch.distributed.is_initialized(), [name for name in threads if 'gloo' in name])
"""
    place = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port())
    out = subprocess.run(
        [sys.executable, '-c', script, config, str(tmp_path / 'run')],
        capture_output=True,
        text=True,
        env=dict(os.environ, CUDA_VISIBLE_DEVICES='-1', **place),
        cwd=Path(__file__).parents[2],
    )
    assert 'left: False []' in out.stdout, out.stderr[-2000:]
    assert (tmp_path / 'run/epoch_1.pth').is_file()


def test_processes_of_a_distributed_training_are_killed(start_two, loads, tiny_config, tmp_path):
    loader = dict(num_workers=0, persistent_workers=False)
    hooks = dict(checkpoint=dict(by_epoch=False, interval=2))
    changes = dict(train_dataloader=loader, val_dataloader=loader, default_hooks=hooks)
    record = dict(type='RecordMasksHook')
    config, run, whole = tiny_config(custom_hooks=[EMA, record], **changes), tmp_path / 'run', tmp_path / 'whole'
    for lost, iteration in ((1, 3), (0, 5)):  # six iterations in all
        fault = dict(type='FaultHook', iteration=iteration, fault='kill', rank=lost)
        dying = tiny_config('dying', custom_hooks=[EMA, fault], **changes)
        processes = start_two(dying, '--work-dir', run, '--no-validate', '--resume')
        assert processes[lost].wait() == -signal.SIGKILL, processes[lost].output[-3000:]
        assert processes[1 - lost].wait(120) == 1
        assert (
            f'process {1 - lost} of 2 must reach the others, but one of them has ended or hangs'
            in processes[1 - lost].output
        )
        assert loads(run)[-1] == f'iter_{iteration - 1}.pth'
    both = [*start_two(config, '--work-dir', run, '--no-validate', '--resume')]
    both += start_two(config, '--work-dir', whole, '--no-validate')
    assert [process.wait() for process in both] == [0] * 4
    assert_same_state(whole / 'iter_6.pth', run / 'iter_6.pth')

    # What is drawn follows from seed, rank and iteration: ranks differ, and the resumed run draws what the other drew.
    ranks = [(whole / f'masks-{rank}.txt').read_text().splitlines() for rank in (0, 1)]
    assert len({line.split()[1] for lines in ranks for line in lines}) == 12
    for rank, lines in enumerate(ranks):
        assert (run / f'masks-{rank}.txt').read_text().splitlines() == lines[4:]


@pytest.mark.slow
def test_launcher_ends_all_when_one_is_killed(tiny_config, tmp_path):
    loader = dict(num_workers=0, persistent_workers=False)
    fault = [EMA, dict(type='FaultHook', iteration=4, fault='kill', rank=1)]
    imports = dict(imports=['faulty'])
    config = tiny_config(custom_hooks=fault, custom_imports=imports, train_dataloader=loader, val_dataloader=loader)
    root = Path(__file__).resolve().parents[2]
    env = dict(os.environ, PYTHON=sys.executable, PORT=free_port(), CUDA_VISIBLE_DEVICES='-1')
    env['PYTHONPATH'] = str(Path(__file__).parent)
    command = [str(root / 'tools' / 'dist_train.sh'), config, '2', '--work-dir', str(tmp_path / 'run')]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'Signal 9 (SIGKILL) received' in done.stderr


# ---------------------------------------------------------------------- in the second of two epochs


@pytest.fixture
def half_done(trained, tmp_path):
    """The work dir of a training that was ended after its first epoch."""
    folder = tmp_path / 'run'
    folder.mkdir()
    shutil.copy(trained / 'epoch_1.pth', folder)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    return folder


@pytest.fixture
def resumes(trained, half_done, loads, tool):
    """Assert that the first epoch's checkpoint is untouched, and that a run resumed from it is the undisturbed one."""

    def check(config):
        assert loads(half_done) == ['epoch_1.pth']
        assert (half_done / 'epoch_1.pth').read_bytes() == (trained / 'epoch_1.pth').read_bytes()
        assert (half_done / 'last_checkpoint').read_text() == str(half_done / 'epoch_1.pth')
        tool('train')([config, '--work-dir', str(half_done), '--resume', '--no-validate'])
        assert_same_state(trained / 'epoch_2.pth', half_done / 'epoch_2.pth')

    return check


def test_worker_is_killed(start, half_done, resumes, tiny_config):
    fault = tiny_config('fault', custom_hooks=[EMA, dict(type='FaultHook', iteration=8, fault='worker')])
    training = start(fault, '--work-dir', half_done, '--resume')
    assert training.wait() == 1
    assert re.search(r'DataLoader worker \(pid.* (is killed by signal: Killed|exited unexpectedly)', training.output)
    resumes(tiny_config())


def test_corrupt_image_among_good_ones(half_done, resumes, image_folder, tiny_config, tool, tmp_path):
    shutil.copytree(image_folder, tmp_path / 'data')
    config = tiny_config(train_dataloader=dict(dataset=dict(data_root=str(tmp_path / 'data'))))
    image = tmp_path / 'data' / 'train' / 'b' / '04.png'
    good = image.read_bytes()
    image.write_bytes(good[:300])
    with pytest.raises(ValueError, match=f'samples must load and transform, but {image} gave'):
        tool('train')([config, '--work-dir', str(half_done), '--resume'])
    image.write_bytes(good)
    resumes(config)


@pytest.mark.parametrize(
    ('fault', 'iteration', 'message'),
    [
        (
            'nan',
            8,
            r'losses must be finite, but iteration 9 gave loss = nan\. The last good .* is .*epoch_1\.pth; a resu',
        ),
        # After the last step of the epoch: the loss was good, the weights that are to be saved are not.
        ('nan-after', 11, r'weights must be finite to be saved, but 1 of \d+ numbers of backbone.* after iteration 12'),
    ],
    ids=['loss', 'weights'],
)
def test_nan(fault, iteration, message, half_done, resumes, tiny_config, tool):
    hooks = [EMA, dict(type='FaultHook', iteration=iteration, fault=fault)]
    # Not even the checkpoint of the same iteration, and no best one, is written.
    checkpoint = dict(interval=1, by_epoch=True, save_best='accuracy/top1')
    config = tiny_config('fault', custom_hooks=hooks, default_hooks=dict(checkpoint=checkpoint))
    with pytest.raises(FloatingPointError, match=message):
        tool('train')([config, '--work-dir', str(half_done), '--resume'])
    resumes(tiny_config())
