# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Trainings as copies of a process that waits: like processes of their own, whatever becomes of them."""

import subprocess
import sys
from pathlib import Path

import mmmaskany

SCRIPT = """
import os, sys, torch
print(sys.argv[1:], os.environ['MINE'], torch.get_num_threads(), flush=True)
if sys.argv[1] == 'dies':
    raise RuntimeError('as intended')
if sys.argv[1] == 'is killed':
    os.kill(os.getpid(), 9)
sys.exit(int(sys.argv[1]))
"""
CALLER = """
import os, signal, sys
from concurrent.futures import ThreadPoolExecutor
from mmmaskany.experiments.processes import Warm

script, log = sys.argv[1:]

def run(what):
    with open(f'{log}.{what}', 'a') as out:
        env = dict(os.environ, MINE=f'of {what}', OMP_NUM_THREADS='1')
        return warm.start([sys.executable, script, what], env, out, [])

with Warm() as warm:
    with ThreadPoolExecutor(4) as pool:
        print(list(pool.map(run, ['0', '3', 'dies', 'is killed'])))
    print(warm.start(['sh', '-c', 'exit 5'], os.environ, sys.stdout, []))
    os.kill(warm._process, signal.SIGKILL)
    os.waitid(os.P_PID, warm._process, os.WEXITED | os.WNOWAIT)
    print(run('4'))  # as a process of its own
"""


def test_copies_end_like_processes(tmp_path):
    (tmp_path / 'script.py').write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, '-c', CALLER, tmp_path / 'script.py', tmp_path / 'log'],
        cwd=Path(mmmaskany.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines() == ['[0, 3, 1, -9]', '5', '4'], done.stderr
    for what in ('0', '3', 'dies', 'is killed', '4'):
        assert (tmp_path / f'log.{what}').read_text().startswith(f"['{what}'] of {what} 1\n"), what
    assert 'RuntimeError: as intended' in (tmp_path / 'log.dies').read_text()
