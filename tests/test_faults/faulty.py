# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Trainings in processes of their own, in which something goes wrong.

They are forked from a server that has imported the libraries, so that a start costs a tenth of a second and not six.
"""

import ctypes
import hashlib
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

TRAIN = Path(__file__).resolve().parents[2] / 'tools' / 'train.py'
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000

_server = multiprocessing.get_context('forkserver')
_server.set_forkserver_preload(['torch', 'mmpretrain.datasets', 'mmpretrain.models', 'mmpretrain.evaluation'])


def warm_up() -> None:
    """Start the server, unless it runs already."""
    process = _server.Process(target=int)
    process.start()
    process.join()


class Training:
    """``tools/train.py`` in a process.

    Args:
        log (Path): Where its output goes.
        *argv (str | Path): Its command line.
        fault (Callable, optional): Called before it starts, in its process. Defaults to None.
        fault_args (tuple): Arguments of ``fault``. Defaults to ().
        env (dict[str, str], optional): What is added to its environment. Defaults to None.
    """

    def __init__(self, log: Path, *argv, fault: Callable | None = None, fault_args: tuple = (), env=None) -> None:
        self.log = log
        args = (list(map(str, argv)), str(log), fault, fault_args, env or {})
        self.process = _server.Process(target=_train, args=args)
        self.process.start()

    @property
    def output(self) -> str:
        return self.log.read_text(errors='replace') if self.log.exists() else ''

    def kill(self) -> None:
        """End it by kill -9, unless it has ended."""
        self.process.kill()

    def wait(self, seconds: float = 300) -> int:
        """Wait for its end and return its exit status; a negative one is a signal's.

        Raises:
            TimeoutError: If it goes on for too long; it is killed then.
        """
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f'a training must end within {seconds} s, but hangs:\n{self.output[-3000:]}')
        return self.process.exitcode


def _train(argv: list[str], log: str, fault: Callable | None, fault_args: tuple, env: dict[str, str]) -> None:
    os.environ.update(env)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        main = runpy.run_path(str(TRAIN))['main']
        if fault:
            fault(*fault_args)
        main(argv)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


# ---------------------------------------------------------------------- faults


@HOOKS.register_module()
class FaultHook(Hook):
    """Lets something happen in an iteration, in one of the processes.

    Args:
        iteration (int): Which iteration, from 0.
        fault (str): 'kill' the process, or one 'worker' of its training data; or let a weight be 'nan', or be so
            'nan-after' the iteration.
        rank (int): In which process. Defaults to 0.
    """

    def __init__(self, iteration: int, fault: str, rank: int = 0) -> None:
        self.iteration, self.fault, self.rank = iteration, fault, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter != self.iteration or runner.rank != self.rank:
            return
        if self.fault == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.fault == 'worker':
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        elif self.fault == 'nan':
            self._spoil(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.iteration and self.fault == 'nan-after':
            self._spoil(runner)

    def _spoil(self, runner):
        next(runner.model.parameters()).data.view(-1)[0] = float('nan')


@HOOKS.register_module()
class RecordMasksHook(Hook):
    """Writes what each process masks in each iteration to ``masks-RANK.txt`` in the work dir."""

    def before_train(self, runner):
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.backbone.masking.register_forward_hook(lambda module, args, views: self.__dict__.update(draw=views.draw))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        digest = hashlib.sha256(self.draw.mask.numpy().tobytes()).hexdigest()
        with open(os.path.join(runner.work_dir, f'masks-{runner.rank}.txt'), 'a') as file:
            file.write(f'{runner.iter} {digest}\n')


def kill_at_operation(number: int, share: float) -> None:
    """Kill the process at its so many-th operation on a checkpoint or on the pointer to it.

    Operations are what makes a file durable, gives it its name or deletes it. A file that is being written is left
    with ``share`` of its content, as after a crash of the machine.
    """
    count = 0

    def counted(original: Callable, is_write: bool = False) -> Callable:
        def run(*args, **kwargs):
            nonlocal count
            target = os.readlink(f'/proc/self/fd/{args[0]}') if is_write else str(args[0])
            if '.pth' in target or 'last_checkpoint' in target:
                if count == number:
                    if is_write:
                        os.ftruncate(args[0], int(os.fstat(args[0]).st_size * share))
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
            return original(*args, **kwargs)

        return run

    os.fsync = counted(os.fsync, is_write=True)
    os.replace, os.remove, os.unlink = counted(os.replace), counted(os.remove), counted(os.unlink)


def small_disk(folder: str, size: int, rescue: str) -> None:
    """Put a real file system of ``size`` bytes, which only this process sees, in the place of a folder.

    What it holds is copied to ``rescue`` when the training ends.
    """
    mount_small_disk(folder, size)
    leave = os._exit

    def rescue_and_leave(status: int) -> None:
        shutil.copytree(folder, rescue)
        leave(status)

    os._exit = rescue_and_leave


def mount_small_disk(folder: str, size: int) -> None:
    """Mount a tmpfs in a name space of this process, which ordinary users may do where the system lets them."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    os.makedirs(folder, exist_ok=True)
    if libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)):
        raise OSError(ctypes.get_errno(), 'no name space')
    if user:
        for name, content in (('setgroups', 'deny'), ('uid_map', f'0 {user} 1'), ('gid_map', f'0 {group} 1')):
            Path('/proc/self', name).write_text(content)
    private = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC: the mount is not seen outside
    if libc.mount(b'none', b'/', None, private, None) or libc.mount(
        b'tmpfs', folder.encode(), b'tmpfs', 0, f'size={size}'.encode()
    ):
        raise OSError(ctypes.get_errno(), 'no mount')


def can_mount() -> bool:
    """Tell whether this machine lets a process of its own mount a small disk."""
    process = _server.Process(target=mount_small_disk, args=('/tmp', 100_000))
    process.start()
    process.join()
    return process.exitcode == 0
