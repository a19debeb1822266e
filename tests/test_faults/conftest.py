# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest
from faulty import Training, warm_up

from mmmaskany.checkpoints.protection import read_checkpoint


@pytest.fixture
def start(tmp_path):
    """Start a training in a process of its own, see :class:`Training`; none outlives its test."""
    warm_up()
    started = []

    def make(*argv, **kwargs):
        log = tmp_path / f'output-{len(started)}.log'
        started.append(Training(log, *argv, **kwargs))
        return started[-1]

    yield make
    for training in started:
        training.kill()


@pytest.fixture
def loads():
    """Assert that every checkpoint in a folder has its name only because it is complete, and return their names."""

    def check(folder):
        paths = sorted(folder.glob('*.pth'))
        for path in paths:
            read_checkpoint(path)
        return [path.name for path in paths]

    return check
