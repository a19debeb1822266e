# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmmaskany.checkpoints.format import FORMAT
from mmmaskany.checkpoints.protection import read_checkpoint
from mmmaskany.engine import AtomicCheckpointHook, find_resume_point


class Stop(BaseException):
    """Ends a run at once."""


@pytest.fixture
def keep_limits():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def checkpoints(folder):
    return sorted(path.name for path in Path(folder).iterdir() if path.suffix in ('.pth', '.partial'))


def pointer(folder):
    return Path(folder, 'last_checkpoint').read_text()


def test_a_checkpoint_bears_its_format_and_needs_nothing_of_ours_to_load(trained):
    assert read_checkpoint(trained / 'epoch_2.pth')['meta']['mmmaskany_format'] == FORMAT
    read = 'import sys, torch; print(sorted(torch.load(sys.argv[1], weights_only=True)))'
    done = subprocess.run(
        [sys.executable, '-c', read, str(trained / 'epoch_2.pth')], capture_output=True, text=True, check=True
    )
    sections = ['ema_state_dict', 'message_hub', 'meta', 'optimizer', 'param_schedulers', 'state_dict']
    assert done.stdout.strip() == str(sections)


def test_outdated_files_are_deleted_last(tiny_config, tool, tmp_path, monkeypatch):
    def stop(self, path):
        raise Stop

    hook = dict(max_keep_ckpts=1, save_best='accuracy/top1')
    command = [tiny_config(train_cfg=dict(max_epochs=3), default_hooks=dict(checkpoint=hook))]
    command += ['--work-dir', str(tmp_path / 'run')]
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(AtomicCheckpointHook, '_delete', stop)
        tool('train')(command)
    latest = pointer(tmp_path / 'run')
    assert {'epoch_1.pth', 'epoch_2.pth', os.path.basename(latest)} <= set(checkpoints(tmp_path / 'run'))
    assert read_checkpoint(latest)['meta']['epoch'] == int(Path(latest).stem[-1])

    tool('train')([*command, '--resume'])
    epochs = [name for name in checkpoints(tmp_path / 'run') if name.startswith('epoch')]
    assert epochs == ['epoch_2.pth', 'epoch_3.pth']  # one is taken as two


@pytest.mark.parametrize('metrics', [['precision'], ['precision', 'recall']])
def test_one_best_checkpoint_of_every_metric(metrics, tiny_config, tool, tmp_path):
    hook = dict(save_best=[f'single-label/{metric}' for metric in metrics], rule='greater')
    config = tiny_config(
        train_cfg=dict(max_epochs=4),
        optim_wrapper=dict(optimizer=dict(lr=0.5)),
        param_scheduler=[],
        default_hooks=dict(checkpoint=hook),
        val_evaluator=dict(_delete_=True, type='SingleLabelMetric', items=metrics),
    )
    tool('train')([config, '--work-dir', str(tmp_path / 'run')])
    hub = read_checkpoint(tmp_path / 'run' / 'epoch_4.pth')['message_hub']['runtime_info']
    known = {os.path.basename(path) for key, path in hub.items() if key.startswith('best_ckpt')}
    assert len(known) == len(metrics)
    assert {name for name in checkpoints(tmp_path / 'run') if name.startswith('best')} == known


def test_no_space_at_the_start(tiny_config, tool, tmp_path, keep_limits):
    config = tiny_config()
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(OSError, match=r'must be a folder where 0\.\d MB can be written, but got: .*run'):
        tool('train')([config, '--work-dir', str(tmp_path / 'run')])
    assert checkpoints(tmp_path / 'run') == []


# ---------------------------------------------------------------------- what a run is resumed from


@pytest.fixture
def run_dir(trained, tmp_path):
    """A work dir with epoch_1.pth and epoch_2.pth, the latest."""
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        shutil.copy(trained / name, tmp_path / name)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    return tmp_path


def test_latest(run_dir):
    assert find_resume_point(run_dir) == (str(run_dir / 'epoch_2.pth'), 0, FORMAT, None)


def test_nothing_to_resume(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'weights.pth')
    assert find_resume_point(tmp_path) is None


def test_work_dir_was_moved(run_dir):
    (run_dir / 'last_checkpoint').write_text('/was/elsewhere/epoch_1.pth')
    assert find_resume_point(run_dir).path == str(run_dir / 'epoch_1.pth')


@pytest.mark.parametrize('name', ['', '/nowhere/epoch_7.pth'])
def test_pointer_is_empty_or_dangling(name, run_dir):
    (run_dir / 'last_checkpoint').write_text(name)
    point = find_resume_point(run_dir)
    assert point.path == str(run_dir / 'epoch_2.pth')
    assert (name or str(run_dir / 'last_checkpoint')) in point.note
    assert point.path in point.note


def test_latest_is_truncated(run_dir):
    latest = run_dir / 'epoch_2.pth'
    latest.write_bytes(latest.read_bytes()[:30_000])
    best = run_dir / 'best_top1_epoch_1.pth'
    shutil.copy(run_dir / 'epoch_1.pth', best)
    point = find_resume_point(run_dir)
    assert point.path == str(run_dir / 'epoch_1.pth')
    assert f'{latest} must be a complete PyTorch file' in point.note
    assert f'Resuming from {point.path}' in point.note


def test_runner_without_our_tools_falls_back_too(run_dir, tiny_config):
    (run_dir / 'epoch_2.pth').write_bytes(b'half')
    loader = dict(num_workers=0, persistent_workers=False, collate_fn=dict(type='default_collate'))
    cfg = Config.fromfile(tiny_config(train_dataloader=loader, val_dataloader=loader))
    cfg.work_dir, cfg.resume = str(run_dir), True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner._load_from == str(run_dir / 'epoch_1.pth')
    assert read_checkpoint(run_dir / 'epoch_2.pth')['meta']['iter'] == 12


def test_nothing_loads(run_dir):
    for path in run_dir.glob('*.pth'):
        path.write_bytes(b'')
    with pytest.raises(ValueError, match=r'must have a checkpoint that loads, but .*epoch_2.pth.*; .*epoch_1.pth'):
        find_resume_point(run_dir)


def test_file_client_args_are_refused():
    with pytest.raises(ValueError, match='`backend_args` must be used'):
        AtomicCheckpointHook(file_client_args=dict(backend='disk'))
