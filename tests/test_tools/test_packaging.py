# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a wheel and an editable install of this tree contain, built for real (no network needed)."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ('mmmaskany', 'configs', 'tools', 'requirements', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE')
OPTIONAL = ('README.md', 'CITATION.cff', 'model-index.yml')
IGNORED = shutil.ignore_patterns('__pycache__', '.mim', '*.egg-info')


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A copy of the sources: setuptools leaves build/ and egg-info beside what it builds."""
    tree = tmp_path_factory.mktemp('tree')
    for name in PARTS + tuple(name for name in OPTIONAL if (ROOT / name).exists()):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=IGNORED)
        else:
            shutil.copy2(source, tree / name)
    return tree


def run(*args, cwd):
    result = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file() and '__pycache__' not in p.parts}


def build_wheel(tree, out):
    run('-m', 'pip', 'wheel', '.', '--no-deps', '--no-build-isolation', '--no-index', '-w', str(out), cwd=tree)
    (wheel,) = out.glob('mmmaskany-*.whl')
    assert wheel.name.endswith('-py3-none-any.whl')
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope='module')
def wheel(tree, tmp_path_factory):
    # A leftover of an earlier build must not reach the wheel.
    stale = tree / 'build' / 'lib' / 'mmmaskany' / '.mim' / 'configs' / 'gone.py'
    stale.parent.mkdir(parents=True)
    stale.touch()
    with build_wheel(tree, tmp_path_factory.mktemp('wheel')) as archive:
        yield archive


def test_wheel_holds_the_package_and_its_mim_folder(tree, wheel):
    names = {name for name in wheel.namelist() if not name.endswith('/')}
    packed = {name for name in names if not re.match(r'mmmaskany-[^/]*\.dist-info/', name)}
    expected = {f'mmmaskany/{name}' for name in files(tree / 'mmmaskany') if not name.startswith('.mim/')}
    for folder in ('configs', 'tools'):
        expected |= {f'mmmaskany/.mim/{folder}/{name}' for name in files(tree / folder)}
    expected.add('mmmaskany/.mim/model-index.yml')
    assert packed == expected
    assert {'mmmaskany/py.typed', 'mmmaskany/checkpoints/fingerprints.json'} < packed  # beside the modules
    assert wheel.read('mmmaskany/.mim/tools/install.sh') == (ROOT / 'tools' / 'install.sh').read_bytes()


def test_wheel_metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
    metadata = wheel.read(name).decode()
    assert re.search(r'^Name: mmmaskany$', metadata, re.M)
    assert re.search(r'^License(-Expression)?: Apache-2\.0$', metadata, re.M)
    assert re.search(r'^Requires-Python: >=3\.10$', metadata, re.M)  # without an upper bound
    named = re.findall(r'^Classifier: Programming Language :: Python :: 3\.(\d+)$', metadata, re.M)
    assert named == ['10', '11', '12', '13']
    required = re.findall(r'^Requires-Dist: ([\w-]+)[^;\n]*$', metadata, re.M)
    # The libraries have forks under other distribution names: pip must not put the originals on top of them.
    assert sorted(required) == ['numpy', 'safetensors', 'torch']
    assert any(re.search(r'\.dist-info/(licenses/)?LICENSE$', name) for name in wheel.namelist())


def test_wheel_has_the_command(wheel, tmp_path):
    (name,) = (name for name in wheel.namelist() if name.endswith('.dist-info/entry_points.txt'))
    assert wheel.read(name).decode().split() == ['[console_scripts]', 'mmmaskany', '=', 'mmmaskany.cli:run']
    # Outside of the repository it finds the configs that the wheel carries, and the page on the environment.
    wheel.extractall(tmp_path)
    env = {**os.environ, 'PYTHONPATH': str(tmp_path)}
    for call in (['-m', 'mmmaskany', 'list', 'maskany_r50_in1k'], ['mmmaskany/.mim/tools/misc/check_env.py']):
        done = subprocess.run([sys.executable, *call], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert 'maskany_r50_in1k' in done.stdout or f'from {tmp_path / "mmmaskany"}' in done.stdout


def test_the_wheel_is_enough(wheel, tmp_path):
    """An environment of its own, no repository in sight: the scope, the command, the configs, and a training."""
    home = tmp_path / 'home'
    home.mkdir()
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', tmp_path / 'venv'], check=True)
    python = tmp_path / 'venv' / 'bin' / 'python'
    site = Path(
        subprocess.check_output([python, '-c', 'import site; print(site.getsitepackages()[0])'], text=True).strip()
    )
    # Of the environment that runs the tests it sees all, but for the mmmaskany that is installed there.
    others = sysconfig.get_path('purelib')
    distutils = Path(others, 'distutils-precedence.pth')  # setuptools', which Python 3.12 and later lack
    (site / 'others.pth').write_text(f'{others}\n{distutils.read_text() if distutils.exists() else ""}\n')
    run(
        '-m', 'pip', '--python', str(python), 'install', '--no-index', '--no-deps', '--force-reinstall', wheel.filename,
        cwd=home,
    )  # fmt: skip
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}

    def call(*args):
        done = subprocess.run(args, cwd=home, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = call(python, '-c', 'import mmmaskany; print(mmmaskany.__file__)').strip()
    assert where.startswith(str(site))
    mim = Path(where).parent / '.mim'
    found = call(
        python, '-c',
        'from mmengine.utils import get_installed_path as path\n'
        'from mmpretrain.registry import MODELS\n'
        'print(path("mmmaskany"), MODELS.get("mmmaskany.MaskAny").__name__)',
    )  # fmt: skip
    assert found.split() == [str(mim.parent), 'MaskAny']

    call(python, mim / 'tools' / 'dataset_converters' / 'digits.py', '--sets', 'classification')
    command = site.parents[2] / 'bin' / 'mmmaskany'
    assert 'maskany_r50_in1k' in call(command, 'list', 'maskany_r50_in1k')
    data, out = home / 'data' / 'digits', home / 'out'
    options = ['--model', 'timm/resnet10t', '--size', '32', '--epochs', '1', '--seeds', '1', '--variants', 'plain']
    call(command, 'finetune', data, '--out', out, *options)
    assert '| plain |' in (out / 'report.md').read_text()


def test_source_distribution_builds_the_same_wheel(tree, wheel, tmp_path):
    run('-c', "from setuptools import build_meta; build_meta.build_sdist('dist')", cwd=tree)
    (archive,) = (tree / 'dist').glob('mmmaskany-*.tar.gz')
    shutil.unpack_archive(archive, tmp_path)
    (unpacked,) = tmp_path.glob('mmmaskany-*')
    with build_wheel(unpacked, tmp_path / 'wheel') as again:
        assert sorted(again.namelist()) == sorted(wheel.namelist())


def test_editable_install_links_into_the_tree(tree, tmp_path):
    # The hook that pip calls for `pip install -e .`.
    run('-c', f'from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})', cwd=tree)
    mim = tree / 'mmmaskany' / '.mim'
    assert sorted(os.listdir(mim)) == ['configs', 'model-index.yml', 'tools']
    for link in mim.iterdir():
        assert link.is_symlink()
        assert link.resolve() == tree / link.name
        assert not os.path.isabs(os.readlink(link))
    (editable,) = tmp_path.glob('mmmaskany-*.whl')
    assert not any('.mim' in name for name in zipfile.ZipFile(editable).namelist())
