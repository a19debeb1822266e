# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""When two processes have finished, no thread of gloo is left that could abort them while Python ends."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads have names on Linux')


def run_two(*argv):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    world = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE='2', CUDA_VISIBLE_DEVICES='-1')
    command = [sys.executable, str(Path(__file__).with_name('end_of_run.py')), *map(str, argv)]
    started = [
        subprocess.Popen(
            [*command, '--launcher', 'pytorch'],
            env=dict(os.environ, **world, RANK=str(rank), LOCAL_RANK=str(rank)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    return [re.search('^threads left: .*', output, re.MULTILINE)[0] for output in outputs]


def test_no_thread_of_gloo_is_left(tiny_config, trained, tmp_path):
    loader = dict(num_workers=0, persistent_workers=False)
    loaders = dict(train_dataloader=loader, val_dataloader=loader, test_dataloader=loader)
    config = tiny_config(train_cfg=dict(max_epochs=1), **loaders)
    for argv in (('train', config), ('test', config, trained / 'epoch_2.pth')):
        for left in run_two(*argv, '--work-dir', tmp_path / argv[0]):
            assert 'gloo' not in left, left
