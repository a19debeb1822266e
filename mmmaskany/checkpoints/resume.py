# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Name what a killed run can go on from, and find it."""

import os
from pathlib import Path
from typing import NamedTuple

from .atomic import atomic_write
from .format import NewerFormatError, format_of
from .protection import read_checkpoint

#: The file of a work dir that names the latest checkpoint, as MMEngine calls it.
POINTER = 'last_checkpoint'


class ResumePoint(NamedTuple):
    """A checkpoint that a run can go on from.

    Args:
        path (str): The file.
        seed (int | None): The seed of the run that wrote it.
        format (int): The format that it is of, see :mod:`mmmaskany.checkpoints.format`.
        note (str | None): What is wrong with the checkpoint that should have been the latest, naming both.
    """

    path: str
    seed: int | None
    format: int
    note: str | None


def read_training_state(path: str | os.PathLike) -> dict:
    """Read a checkpoint and make sure that training can go on from it.

    Args:
        path (str | os.PathLike): A local file.

    Returns:
        dict: What the file holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or holds weights only. The message names the file.
    """
    checkpoint = read_checkpoint(path)
    missing = [key for key in ('state_dict', 'meta', 'message_hub') if key not in checkpoint]
    if missing:
        raise WeightsOnlyError(
            f'checkpoint {path} must hold a training state to resume from, but lacks {", ".join(missing)}: '
            'give it as `load_from` to start from its weights'
        )
    return checkpoint


class WeightsOnlyError(ValueError):
    """A good checkpoint, but not one to resume from."""


def write_pointer(work_dir: str | os.PathLike, checkpoint: str) -> None:
    """Name the latest checkpoint of a run, once it is complete and on the disk.

    Args:
        work_dir (str | os.PathLike): The work dir of the run.
        checkpoint (str): The file.
    """
    atomic_write(Path(work_dir, POINTER), checkpoint.encode())


def find_resume_point(work_dir: str | os.PathLike) -> ResumePoint | None:
    """Find the latest checkpoint of a run that training can go on from.

    That is the one that ``last_checkpoint`` names. Where this pointer is empty or names a file that is gone or
    truncated, it is the newest file that loads.

    Args:
        work_dir (str | os.PathLike): The work dir of the run.

    Returns:
        ResumePoint | None: None where nothing was saved yet.

    Raises:
        ValueError: If there are checkpoints, but none can be read, when the message names them all; or if one is of a
            newer format than is known here (``NewerFormatError``), for going on from an older one would lose it.
    """
    work_dir = Path(work_dir)
    pointer = work_dir / POINTER
    name = pointer.read_text(encoding='utf-8').strip() if pointer.is_file() else ''
    wanted = [Path(name), work_dir / Path(name).name] if name else []
    folders = dict.fromkeys([work_dir, *(path.parent for path in wanted)])
    files = [path for folder in folders for path in folder.glob('*.pth') if not path.name.startswith('best_')]
    newest_first = sorted(files, key=lambda path: (path.stat().st_mtime_ns, len(path.name), path.name), reverse=True)

    problems, unreadable = [], False
    if pointer.is_file() and not name:
        problems.append(f'{pointer} must name a checkpoint, but is empty')
    for path in dict.fromkeys([*wanted, *newest_first]):
        try:
            checkpoint = read_training_state(path)
        except FileNotFoundError as error:
            problems.append(str(error))
        except WeightsOnlyError as error:
            problems.extend([str(error)] if path in wanted else [])
        except NewerFormatError:
            raise
        except ValueError as error:
            problems.append(str(error))
            unreadable = True
        else:
            note = f'{"; ".join(problems)}. Resuming from {path}, the newest that loads' if problems else None
            return ResumePoint(str(path), checkpoint['meta'].get('seed'), format_of(checkpoint), note)
    if unreadable:
        raise ValueError(f'a run to resume must have a checkpoint that loads, but {"; ".join(problems)}')
    return None
