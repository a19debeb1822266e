# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import os
import re
import subprocess
import sys

import pytest
import torch
from launching import TOOLS, run

from mmmaskany.checkpoints.protection import read_checkpoint


def test_two_processes_without_gpu(tiny_config, tmp_path):
    # 22 images of each rank make 3 iterations; a step takes 4, so gradients wait at the end of the first epoch.
    config = tiny_config(
        model=dict(backbone=dict(backbone=dict(norm_cfg=dict(type='SyncBN')))),
        optim_wrapper=dict(accumulative_counts=4),
    )
    args = (config, 2, '--work-dir', tmp_path / 'run', '--amp', '--auto-scale-lr')
    status, output = run('dist_train.sh', *args)
    assert status == 0, output
    assert 'through gloo' in output
    assert 'SyncBN is BN' in output
    assert 'bfloat16 autocast on the CPU' in output
    assert 'batch size of 2.0 and the current batch size is 16' in output  # 8 / 4 accumulated, 2 * 8
    assert re.search(r'Epoch\(val\) \[2\]\[1/1\] +accuracy/top1: \d', output)
    whole = read_checkpoint(tmp_path / 'run' / 'epoch_2.pth')
    assert 'gradients' in read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')

    (tmp_path / 'run' / 'epoch_2.pth').write_bytes(b'half')
    status, output = run('dist_train.sh', *args, '--resume')
    assert status == 0, output
    assert f'Resuming from {tmp_path / "run" / "epoch_1.pth"}' in output
    resumed = read_checkpoint(tmp_path / 'run' / 'epoch_2.pth')
    for name, tensor in whole['state_dict'].items():
        assert torch.equal(resumed['state_dict'][name], tensor), name

    status, output = run('dist_test.sh', config, tmp_path / 'run' / 'epoch_2.pth', 2, '--work-dir', tmp_path / 'test')
    assert status == 0, output
    assert re.search(r'Epoch\(test\) \[1/1\] +accuracy/top1: \d', output)


def test_arguments_of_the_libraries(tiny_config, tool, tmp_path):
    tool('train')(
        [tiny_config(), '--work-dir', str(tmp_path / 'run'), '--no-validate', '--amp', '--auto-scale-lr']
        + [
            '--cfg-options',
            'train_cfg.max_epochs=1',
            'optim_wrapper.accumulative_counts=2',
            'train_dataloader.batch_size=4',
        ]
    )
    checkpoint = read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')
    assert checkpoint['meta']['iter'] == 11
    assert 'val_evaluator = None' in checkpoint['meta']['cfg']
    assert checkpoint['optimizer']['param_groups'][0]['initial_lr'] == 0.05  # half the batch, two of them a step
    with pytest.raises(
        ValueError, match=r'--auto-scale-lr needs auto_scale_lr.base_batch_size, but .*bare.py has none'
    ):
        tool('train')([tiny_config('bare', auto_scale_lr=dict(_delete_=True)), '--auto-scale-lr'])


def test_resume_with_nothing_to_resume_starts(tiny_config, tool, tmp_path):
    config = tiny_config(train_cfg=dict(max_epochs=1))
    tool('train')([config, '--work-dir', str(tmp_path / 'run'), '--resume', '--no-validate'])
    assert read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['meta']['epoch'] == 1


def test_resume_from_a_file(trained, tiny_config, tool, tmp_path):
    config = tiny_config()
    tool('train')([config, '--work-dir', str(tmp_path / 'run'), '--resume', str(trained / 'epoch_1.pth')])
    ours, theirs = (read_checkpoint(folder / 'epoch_2.pth')['state_dict'] for folder in (tmp_path / 'run', trained))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_no_resuming_with_other_images(trained, tiny_config, tool, tmp_path):
    """What goes on with other images than it began with is neither of the two trainings."""
    changed = tiny_config(model=dict(data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])))
    with pytest.raises(ValueError, match=r'data_preprocessor must make the images that .*epoch_1\.pth was trained on'):
        tool('train')([changed, '--work-dir', str(tmp_path / 'run'), '--resume', str(trained / 'epoch_1.pth')])
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_usage(script):
    assert os.access(TOOLS / script, os.X_OK)
    status, output = run(script, 'config.py')
    assert status == 2
    assert re.match(r'usage: .*\.sh .*(CONFIG|PARTITION)', output)


@pytest.mark.parametrize(('script', 'fourth'), [('slurm_train.sh', 'work dir'), ('slurm_test.sh', 'a.pth')])
def test_slurm_command(script, fourth, tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    env = dict(PATH=f'{tmp_path}:{os.environ["PATH"]}', GPUS='16', SRUN_ARGS='--time=1 --qos=a')
    status, output = run(script, 'part', 'job', 'my config.py', fourth, '--cfg-options', 'a.b=c d', **env)
    assert status == 0
    lines = output.splitlines()
    assert lines[:5] == ['--partition=part', '--job-name=job', '--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8']
    assert ['--time=1', '--qos=a', sys.executable] == lines[7:10]
    assert lines[12] == 'my config.py'
    assert fourth in lines
    assert lines[-4:] == ['--launcher', 'slurm', '--cfg-options', 'a.b=c d']


def test_python_without_mmengine_is_named(tmp_path):
    fake = tmp_path / 'python'
    fake.write_text('#!/bin/sh\nexit 1\n')
    fake.chmod(0o755)
    env = dict(os.environ, PYTHON=str(fake))
    done = subprocess.run([str(TOOLS / 'dist_train.sh'), 'a.py', '2'], capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert f"a Python with MMEngine is needed, but '{fake}' has none" in done.stderr
