# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The page of tools/misc/check_env.py, on this environment and on ones that lack a part or have a broken one."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import mmcv
import pytest
import torch

from mmmaskany import environment
from mmmaskany.environment import choose_set

ROOT = Path(__file__).resolve().parents[2]
SET = choose_set()
RUN = 'import runpy, sys; script, *gone = sys.argv[1:]; sys.modules.update(dict.fromkeys(gone)); '
RUN += "runpy.run_path(script, run_name='__main__')"


def page(folder, *gone, **broken):
    """Exit code and page where the modules ``gone`` cannot be found and the modules ``broken`` run that code."""
    for name, code in broken.items():
        (folder / name).mkdir()
        (folder / name / '__init__.py').write_text(code)
    env = {**os.environ, 'PYTHONPATH': str(folder), 'PYTHONDONTWRITEBYTECODE': '1'}
    script = ROOT / 'tools' / 'misc' / 'check_env.py'
    result = subprocess.run(
        [sys.executable, '-c', RUN, script, *gone], cwd=folder, env=env, capture_output=True, text=True
    )
    assert result.stderr == ''
    verdict = 'FAIL: training cannot work here\n' if result.returncode else 'ok: training can work here\n'
    assert result.stdout.endswith(verdict)
    return result.returncode, result.stdout


def row(text, name):
    """Status, text and fix of one row."""
    ((status, found, fix),) = re.findall(rf'^(\S+) +{re.escape(name)} +(.*)\n(?: +fix: (.*)\n)?', text, re.M)
    return status, found, fix


def test_this_environment_can_train(tmp_path):
    code, text = page(tmp_path)
    assert code == 0, text
    assert 'FAIL' not in text
    assert row(text, 'python')[1].startswith(platform.python_version())
    assert row(text, 'torch')[1].startswith(torch.__version__)
    assert row(text, 'mmcv')[1].startswith(f'{mmcv.__version__}, operators')
    assert row(text, 'torch.load')[0] == 'ok'
    assert row(text, 'registry')[0] == 'ok'
    assert len(text.splitlines()) < 50  # one page


@pytest.mark.parametrize('gone', [('torch',), ('mmcv',), ('mmengine', 'pkg_resources'), ('mmpretrain',)])
def test_training_needs(gone, tmp_path):
    code, text = page(tmp_path, *gone)
    assert code == 1
    for name in gone:
        if name == 'pkg_resources' and SET == 'onedl':  # which do without it
            assert row(text, 'setuptools')[0] == 'ok'
            continue
        status, found, fix = row(text, 'setuptools' if name == 'pkg_resources' else name)
        assert status == 'FAIL'
        assert name in found
        assert 'install' in fix


def test_detection_and_segmentation_are_optional(tmp_path):
    code, text = page(tmp_path, 'mmdet', 'mmseg')
    assert code == 0
    assert row(text, 'mmdet')[:2] == ('note', 'not installed: no detection')
    assert row(text, 'mmseg')[:2] == ('note', 'not installed: no segmentation')


def test_the_shortest_way(tmp_path, monkeypatch):
    code, text = page(tmp_path, 'mmcv')
    assert code == 1
    forks = 'the maintained forks, as this Python asks for; ' if sys.version_info >= (3, 13) else ''
    assert row(text, 'shortest way')[1].startswith(f'bash tools/install.sh ({forks}compiles mmcv once')
    monkeypatch.setenv('CXX', 'g++-of-nowhere -pipe')
    _, text = page(tmp_path, 'mmcv')
    assert row(text, 'shortest way')[1].startswith('bash tools/install.sh --classification (minutes')
    assert 'g++-of-nowhere is missing here (Debian, Ubuntu: apt-get install g++ python3-dev)' in text
    _, text = page(tmp_path)
    assert 'shortest way' not in text  # nothing is missing


def test_the_shortest_way_on_a_newer_python(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import sys, sysconfig; version = type("V", (tuple,), dict(major=3, minor=13))\n'
        'sys.version_info = version((3, 13, 0, "final", 0))'
    )
    _, text = page(tmp_path, 'mmcv', 'torch')
    assert row(text, 'python')[0] == 'ok'
    assert row(text, 'shortest way')[1].startswith('bash tools/install.sh (the maintained forks, as this')


def test_a_gpu_build_that_mmcv_cannot_be_compiled_for(monkeypatch, capsys):
    monkeypatch.setattr(torch, '__version__', '2.14.1+cu130')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda index: 'a GPU')
    for there, status in ((True, 'note'), (False, 'ok')):  # for a CPU it can
        monkeypatch.setattr(torch.cuda, 'is_available', lambda there=there: there)
        environment.check_torch(environment.Page())
        text = capsys.readouterr().out
        assert row(text, 'torch')[0] == status
        assert ('torch < 2.14, for detection on the GPU' in text) == there


@pytest.mark.parametrize('cxx', ['', ' '])
def test_a_compiler_without_a_name(cxx, monkeypatch):
    monkeypatch.setenv('CXX', cxx)
    assert environment.way().startswith('bash tools/install.sh')


def test_the_shortest_way_on_a_full_disk(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import collections, shutil; usage = collections.namedtuple("usage", "total used free")\n'
        'shutil.disk_usage = lambda path: usage(10**10, 9 * 10**9, 10**9)'
    )
    _, text = page(tmp_path, 'torch')
    found = row(text, 'shortest way')[1]
    assert found.startswith('bash tools/install.sh, but only after making room: it needs at least 4 GB in ')
    assert found.endswith('where 1.0 GB are free')


#: A folder of installed packages that lies before that of the environment, with what this interpreter says of it.
PLACES = """
import sys, sysconfig
path = sysconfig.get_path
sysconfig.get_path = lambda name, *args: {folder!r} if name.endswith('lib') else path(name, *args)
"""


def test_both_sets_of_libraries(tmp_path):
    for name in ('mmcv-lite', 'mmengine', 'onedl-mmengine', 'onedl_mmcv'):
        info = tmp_path / f'{name.replace("-", "_")}-9.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 9\n')
    code, text = page(tmp_path, 'torch')
    assert code == 1
    status, found, fix = row(text, 'forks')
    assert status == 'FAIL'
    assert found.startswith('originals and onedl-* forks overwrite each other: mmcv')
    assert {'mmcv-lite', 'mmengine', 'onedl-mmengine', 'onedl-mmcv'} <= set(re.split('[ ,]+', found))
    mine = 'originals' if sys.version_info < (3, 13) else 'onedl'
    assert fix == f'bash tools/install.sh --hosts {mine}'


def test_a_library_of_which_only_files_are_left(tmp_path):
    """The folder is there, the metadata are not: of a fork that was removed after the original, or by hand."""
    (tmp_path / 'sitecustomize.py').write_text(
        PLACES.format(folder=str(tmp_path / 'a b'))
        + 'import importlib.metadata as m; found = m.distributions\n'
        + 'm.distributions = lambda: (d for d in found() if "mmcv" not in d.name)\n'
    )
    for name in ('mmcv', 'mmseg'):  # of mmseg the metadata are there
        (tmp_path / 'a b' / name).mkdir(parents=True)
    code, text = page(tmp_path, 'torch')
    assert code == 1
    rows = re.findall(r'^FAIL +(\w+) +(.*) is left of a package that is no longer installed\n +fix: (.*)\n', text, re.M)
    folder = tmp_path / 'a b' / 'mmcv'
    assert rows == [('mmcv', str(folder), f"rm -r '{folder}', then bash tools/install.sh")]


def test_libraries_that_refuse(tmp_path):
    refusal = 'MMCV==2.3.0 is used but incompatible. Please install mmcv>=2.0.0rc4, <2.2.0.'
    code, text = page(tmp_path, 'ftfy', mmdet=f'raise AssertionError({refusal!r})')
    assert code == 1
    assert row(text, 'mmdet')[:2] == ('FAIL', f'AssertionError: {refusal}')
    status, found, _ = row(text, 'mmseg')
    assert status == 'FAIL'
    assert found.endswith('needs ftfy and does not say so to pip')


def test_mmcv_that_was_built_without_torch(tmp_path):
    code, text = page(tmp_path, 'mmcv._ext')
    assert code == 1
    status, found, fix = row(text, 'mmcv')
    assert status == 'FAIL'
    assert found.startswith(f'{mmcv.__version__}, operators broken: ModuleNotFoundError')
    assert 'mmcv._ext' in found
    assert fix == 'bash tools/install.sh --current-env'


def test_opencv_without_its_system_library(tmp_path):
    message = 'libGL.so.1: cannot open shared object file: No such file or directory'
    code, text = page(tmp_path, cv2=f'raise ImportError({message!r})')
    assert code == 1
    status, found, fix = row(text, 'cv2')
    assert (status, found) == ('FAIL', f'ImportError: {message}')
    assert 'libgl1' in fix
