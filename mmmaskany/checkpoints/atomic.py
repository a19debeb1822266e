# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Files that are there as a whole or not at all, whatever happens while they are written."""

import contextlib
import io
import os
from pathlib import Path

import torch
from mmengine.fileio import LocalBackend, register_backend

from .format import stamp
from .histories import to_plain

#: Ends the name of a file that is still being written: ``.epoch_3.pth.partial``.
PARTIAL = '.partial'


def atomic_write(path: str | os.PathLike, data: bytes) -> None:
    """Write a file so that its name shows either the old or the new content, after a crash too.

    Args:
        path (str | os.PathLike): The file to write. Its folder is made when missing.
        data (bytes): The new content.

    Raises:
        OSError: If it cannot be written; the old file is untouched then, and nothing else is left behind.
    """
    path = Path(path)
    partial = path.with_name(f'.{path.name}{PARTIAL}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            message = f'cannot write {len(data) / 2**20:.1f} MB ({error.strerror}); what was there is untouched'
            raise OSError(error.errno, message, str(path)) from error
        raise
    with contextlib.suppress(OSError):  # makes the new name durable where folders can be synchronised
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def serialise(checkpoint: dict) -> bytes:
    """Return what ``torch.save`` would write to a file, for :func:`atomic_write`, with the number of its format.

    Args:
        checkpoint (dict): The checkpoint; see :func:`mmmaskany.checkpoints.format.stamp`.

    Returns:
        bytes: The content of the file.
    """
    buffer = io.BytesIO()
    torch.save(to_plain(stamp(checkpoint)), buffer)
    return buffer.getvalue()


def reserve(folder: str | os.PathLike, size: int = 0, make: bool = True) -> None:
    """Find out whether a file of some size can be written into a folder, without keeping it.

    Args:
        folder (str | os.PathLike): The folder; made when missing, but not where the file cannot be written.
        size (int): Size of the file in bytes. Defaults to 0.
        make (bool): Whether a folder that was missing is there afterwards. Defaults to True.

    Raises:
        OSError: If it cannot: no permission, no space, a quota. The message names the folder and the size.
    """
    probe = Path(folder, f'.probe-{os.getpid()}{PARTIAL}')
    missing = [path for path in probe.parents if not os.path.exists(path)]
    written = False
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        with open(probe, 'wb') as file:
            if size and hasattr(os, 'posix_fallocate'):
                os.posix_fallocate(file.fileno(), 0, size)
        written = True
    except OSError as error:
        message = f'must be a folder where {size / 2**20:.1f} MB can be written, but got: {error.strerror}'
        raise OSError(error.errno, message, str(folder)) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
        if not (written and make):
            with contextlib.suppress(OSError):
                for path in missing:
                    path.rmdir()


def clear_partials(folder: str | os.PathLike) -> None:
    """Delete what a process that was killed while it wrote has left in a folder.

    Args:
        folder (str | os.PathLike): The folder.
    """
    for leftover in Path(folder).glob(f'.*{PARTIAL}'):
        leftover.unlink()


@register_backend('mmmaskany_atomic', force=True)
class AtomicBackend(LocalBackend):
    """MMEngine's local file backend, whose ``put`` never leaves a half-written file behind."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write a file as a whole, see :func:`atomic_write`.

        Args:
            obj (bytes): The new content.
            filepath (str | os.PathLike): The file to write.
        """
        atomic_write(filepath, obj)
