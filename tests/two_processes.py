# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""A training in two processes: the test is the first, a script that gets a folder as its argument the second."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import torch

from mmmaskany.engine.launch import end_processes


@contextlib.contextmanager
def process_group(rank, folder):
    """Meet the other process in a folder, and leave no thread of gloo behind, as the tools do.

    Such a thread, held by a model wrapper, can keep a process from ending: what trains belongs into a function.
    """
    importlib.import_module('torch.distributed.nn.functional')  # else it holds the group, see start_processes
    meet, wait = f'file://{folder}/meet', timedelta(minutes=10)
    torch.distributed.init_process_group('gloo', meet, wait, rank=rank, world_size=2)
    try:
        yield
    finally:
        end_processes()


@contextlib.contextmanager
def second_process(script, folder):
    """Run a script as the second process; it must have ended well, or what it printed is shown."""
    tests = Path(__file__).parent
    env = dict(os.environ, PYTHONPATH=f'{tests.parent}{os.pathsep}{tests}', CUDA_VISIBLE_DEVICES='-1')
    log = Path(folder) / 'second_process.log'
    with log.open('w') as output:
        command = [sys.executable, '-X', 'faulthandler', script, str(folder)]
        other = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
        with contextlib.suppress(subprocess.TimeoutExpired):
            other.wait(timeout=300)
        if other.poll() is None:
            other.send_signal(signal.SIGABRT)  # tells where its threads are
            other.wait(timeout=60)
        assert other.returncode == 0, log.read_text()
    finally:
        other.kill()
