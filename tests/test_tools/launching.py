# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import os
import socket
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def run(script, *args, **env):
    """Run a launch script with this interpreter on the CPU and return its exit status and output."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    env = dict(os.environ, PYTHON=sys.executable, PORT=port, CUDA_VISIBLE_DEVICES='-1', **env)
    done = subprocess.run(
        [str(TOOLS / script), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    return done.returncode, done.stdout
