# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""A process that has imported everything, of which each training is a copy: the imports are paid for once.

Only a process of one thread can be copied, and one that has computed nothing may start its threads anew. So it is
split off before anything else is done, and does nothing but wait::

    with Warm() as warm:
        train_all(runs, work_dir, metrics, launch, start=warm.start)
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

import torch

#: The longest request, in bytes: a command and its environment.
_LONGEST = 1 << 20


def start_process(command: Sequence[str], env: Mapping[str, str], log: IO, inherited: Sequence[int]) -> int:
    """Run a command as a process of its own.

    Args:
        command (Sequence[str]): The command.
        env (Mapping[str, str]): Its environment.
        log (IO): What it prints goes there.
        inherited (Sequence[int]): Files that it holds open.

    Returns:
        int: Its exit code, negative the signal that ended it.
    """
    files = dict(stdout=log, stderr=subprocess.STDOUT, pass_fds=inherited)
    return subprocess.run(command, env=env, check=False, **files).returncode


class Warm:
    """Splits off the waiting process, with all that has been imported so far.

    What it starts is a process like any other: with its own log and exit code, and one that crashes or is killed takes
    nothing along. Where a process cannot be copied safely, they are started as always.
    """

    def __init__(self) -> None:
        self._socket = None
        if sys.platform != 'linux' or threading.active_count() > 1:
            return
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        self._process = os.fork()
        if not self._process:
            self._socket.close()
            _wait_for_work(other)
        other.close()

    def start(self, command: Sequence[str], env: Mapping[str, str], log: IO, inherited: Sequence[int]) -> int:
        """Run a command as :func:`start_process` does, a Python script as a copy of the waiting process.

        Args:
            command (Sequence[str]): The command.
            env (Mapping[str, str]): Its environment.
            log (IO): What it prints goes there.
            inherited (Sequence[int]): Files that it holds open.

        Returns:
            int: Its exit code, negative the signal that ended it.
        """
        if self._socket is None or command[0] != sys.executable:
            return start_process(command, env, log, inherited)
        answer, end = os.pipe()
        try:
            request = json.dumps(dict(argv=list(command[1:]), env=dict(env))).encode()
            socket.send_fds(self._socket, [request], [end, log.fileno(), *inherited])
        except OSError:  # it was killed
            os.close(end)
            os.close(answer)
            return start_process(command, env, log, inherited)
        os.close(end)
        with os.fdopen(answer) as reader:
            code = reader.read()
        return int(code) if code else -signal.SIGKILL  # who waited for it was killed

    def close(self) -> None:
        """Let the process end; what it started goes on."""
        if self._socket is not None:
            self._socket.close()
            os.waitpid(self._process, 0)
            self._socket = None

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _wait_for_work(requests: socket.socket) -> NoReturn:
    """Be the waiting process: split off one that starts and awaits each training, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainings and for who asks for them
    signal.signal(signal.SIGCHLD, _forget)
    try:
        while True:
            request, files, *_ = socket.recv_fds(requests, _LONGEST, 16)
            if not request:
                break
            if not os.fork():
                _await(request, *files)
            for file in files:
                os.close(file)
    finally:
        os._exit(0)


def _forget(*_: object) -> None:
    """Let go of processes that have ended; the time that they took counts as this one's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _await(request: bytes, end: int, log: int, *_: int) -> NoReturn:
    """Start a training and say how it ended."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        process = multiprocessing.get_context('fork').Process(target=_run, args=(log, end), kwargs=json.loads(request))
        process.start()
        process.join()
        os.write(end, str(process.exitcode).encode())
    finally:
        os._exit(0)


def _run(log: int, end: int, argv: list[str], env: dict[str, str]) -> None:
    """Be the training: what Python does for ``python SCRIPT ...``."""
    os.close(end)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    if 'OMP_NUM_THREADS' in env:  # was read when torch was imported
        torch.set_num_threads(int(env['OMP_NUM_THREADS']))
    sys.argv = argv
    sys.path[0] = str(Path(argv[0]).parent)
    runpy.run_path(argv[0], run_name='__main__')
