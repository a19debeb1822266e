# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""How far runs are that train in other processes, as a bar with the time left."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from .runs import Run

#: How often the logs of the runs are read, in seconds.
EVERY = 2.0


def steps_done(folder: Path) -> int:
    """Read from its logs how many steps a run has done.

    Args:
        folder (Path): Its work dir.

    Returns:
        int: The steps, over all its starts.
    """
    done = 0
    for path in folder.glob('*/vis_data/scalars.json'):
        for line in path.read_text(errors='replace').splitlines():
            with contextlib.suppress(ValueError):  # a line that is being written
                record = json.loads(line)
                if 'lr' in record:
                    done = max(done, int(record['step']))
    return done


@contextlib.contextmanager
def watch(runs: Sequence[Run], work_dir: Path, steps: int, console: Console) -> Iterator[None]:
    """Show a bar while runs train.

    Args:
        runs (Sequence[Run]): The runs.
        work_dir (Path): Their folder.
        steps (int): Steps of one run.
        console (Console): Where to.
    """
    columns = [
        TextColumn('{task.description}'),
        BarColumn(),
        TextColumn('{task.percentage:.0f} %'),
        TimeElapsedColumn(),
        TextColumn('left'),
        TimeRemainingColumn(elapsed_when_finished=False),
    ]
    before = sum(min(steps, steps_done(work_dir / run.folder)) for run in runs)
    stop = threading.Event()
    # What an earlier start did took no time of this one: it would make the time left look shorter.
    with Progress(*columns, console=console, speed_estimate_period=600) as bar:
        left = len(runs) * steps - before
        task = bar.add_task('training', total=max(1, left))

        def follow() -> None:
            last = False
            while True:
                done = [min(steps, steps_done(work_dir / run.folder)) for run in runs]
                finished = sum((work_dir / run.folder / 'result.json').is_file() for run in runs)
                bar.update(
                    task,
                    completed=sum(done) - before if left else 1,
                    description=f'{finished} of {len(runs)} runs trained',
                )
                if last:
                    return
                last = stop.wait(EVERY)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
