# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import contextlib
import os
import resource

import pytest
from mmengine.fileio import put

from mmmaskany.checkpoints.atomic import atomic_write, reserve


@contextlib.contextmanager
def largest_file(size):
    """Let the system refuse larger files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def no_privileges():
    """Act as an ordinary user, who may not write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_write_and_replace(tmp_path):
    path = tmp_path / 'new' / 'a.pth'
    atomic_write(path, b'first')
    put(b'second', str(path), backend_args=dict(backend='mmmaskany_atomic'))
    assert path.read_bytes() == b'second'
    assert os.listdir(path.parent) == ['a.pth']


def test_no_space_keeps_the_old_file(tmp_path):
    path = tmp_path / 'a.pth'
    atomic_write(path, b'old')
    with largest_file(10_000), pytest.raises(OSError, match=r'cannot write 1\.0 MB .* untouched: .*a\.pth'):
        atomic_write(path, bytes(2**20))
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a.pth']


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / 'a.pth', b'new')
    assert os.listdir(tmp_path) == []


def test_reserve(tmp_path):
    reserve(tmp_path / 'new', 2**20)
    assert os.listdir(tmp_path / 'new') == []
    with largest_file(10_000), pytest.raises(OSError, match=r'folder where 1\.0 MB can be written, but got: .*new'):
        reserve(tmp_path / 'new', 2**20)
    assert os.listdir(tmp_path / 'new') == []
    reserve(tmp_path / 'a' / 'b', make=False)
    with largest_file(10_000), pytest.raises(OSError, match='can be written'):
        reserve(tmp_path / 'a' / 'b', 2**20)
    reserve(tmp_path / 'new' / 'c', make=False)
    assert os.listdir(tmp_path) == ['new'] and os.listdir(tmp_path / 'new') == []


def test_reserve_without_permission(tmp_path):
    folder = tmp_path / 'locked'
    folder.mkdir(mode=0o555)
    with no_privileges(), pytest.raises(PermissionError, match=r'must be a folder where .* Permission denied.*locked'):
        reserve(folder / 'run')
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match=r'must be a folder where .*file'):
        reserve(tmp_path / 'file' / 'run')
