# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""tools/install.sh: its options, what it finds missing, and the name it gives to a failure.

Nothing is downloaded. Where pip would have to compile or download first, a stand-in interpreter answers with the
words of a real log.
"""

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmmaskany.environment import SETS, choose_set

ROOT = Path(__file__).resolve().parents[2]
MINE = SETS[choose_set()]
NOWHERE = dict(PIP_INDEX_URL='http://127.0.0.1:9/simple', PIP_RETRIES='0', PIP_CONFIG_FILE=os.devnull)


@pytest.fixture
def tree(tmp_path):
    """A copy of what install.sh reads, without an environment."""
    tree = tmp_path / 'a tree'  # paths with spaces must work
    shutil.copytree(ROOT / 'requirements', tree / 'requirements')
    (tree / 'tools' / 'misc').mkdir(parents=True)
    (tree / 'mmmaskany').mkdir()
    for name in ('install.sh', 'misc/missing_packages.py', 'misc/check_env.py', 'misc/compiler.sh'):
        shutil.copy(ROOT / 'tools' / name, tree / 'tools' / name)
    shutil.copy(ROOT / 'mmmaskany' / 'environment.py', tree / 'mmmaskany')
    return tree


def environment(tree, extra):
    mine = ('PYTHONPATH', 'CXX', 'CC', 'CFLAGS', 'MAX_JOBS', 'REAL_CXX', 'CXX_STANDARD')
    env = {k: v for k, v in os.environ.items() if not k.startswith('PIP_') and k not in mine}
    return {**env, 'TMPDIR': str(tree.parent), **extra}


def install(tree, *args, **env):
    result = subprocess.run(
        ['bash', tree / 'tools' / 'install.sh', *args],
        cwd='/',  # from wherever it is started
        env=environment(tree, env),
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout + result.stderr


def test_help(tree):
    code, text = install(tree, '--help')
    assert code == 0
    assert text.startswith('Usage: bash tools/install.sh')
    assert '--current-env' in text


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--nonsense'], 'unknown option --nonsense'),
        (['--python'], '--python needs an interpreter'),
        (['--python', 'python3', '--current-env'], '--current-env uses the active one'),
        (['--hosts'], '--hosts needs a set: originals or onedl'),
        (['--hosts=mim'], '--hosts takes originals or onedl, but got mim'),
        (['--check'], '.venv is missing or unfinished'),
        (['--python', 'python-of-nowhere'], 'python-of-nowhere: not found'),
        (['--python=false'], 'false: does not run'),
    ],
)
def test_arguments(args, message, tree):
    code, text = install(tree, *args)
    assert code == 1
    assert message in text
    assert not (tree / '.venv').exists()
    assert not list(tree.parent.glob('mmmaskany-install.*'))  # no litter


OF_3_13 = 'import sys; sys.version_info = (3, 13, 0, "final", 0)'
OF_3_9 = 'import sys; sys.version_info = (3, 9, 2, "final", 0)'


@pytest.mark.parametrize(
    ('name', 'code', 'hosts', 'message'),
    [
        ('sitecustomize', OF_3_13, 'originals', 'is Python 3.13.0, but the originals need 3.10 to 3.12 (mmcv 2.1.0'),
        ('sitecustomize', OF_3_9, 'originals', 'is Python 3.9.2, but 3.10 or later is needed'),
        ('sitecustomize', OF_3_9, 'onedl', 'is Python 3.9.2, but 3.10 or later is needed'),
        ('ensurepip', 'raise ImportError', 'onedl', 'has no venv module (Debian, Ubuntu: apt-get install python3'),
    ],
)
def test_interpreters_that_do_not_fit(name, code, hosts, message, tree):
    (tree.parent / f'{name}.py').write_text(code)
    status, text = install(tree, '--python', sys.executable, '--hosts', hosts, PYTHONPATH=str(tree.parent))
    assert status == 1
    assert f'{sys.executable}: {message}' in text
    assert 'install Python 3.11, or another from 3.10 on, with its venv module, or name one with --python' in text


def test_a_folder_of_the_user_is_left_alone(tree):
    (tree / '.venv').mkdir()
    (tree / '.venv' / 'precious').touch()
    code, text = install(tree, '--python', sys.executable)
    assert code == 1
    assert 'is no virtual environment; move it away' in text
    assert (tree / '.venv' / 'precious').exists()


def test_no_network_and_a_half_made_environment(tree):
    # What a run that was killed while it made .venv leaves behind.
    (tree / '.venv' / 'bin').mkdir(parents=True)
    (tree / '.venv' / 'pyvenv.cfg').touch()
    code, text = install(tree, '--python', sys.executable, **NOWHERE)
    assert code == 1
    assert 'making it anew' in text
    assert 'Not installed: torch torchvision ' in text
    assert 'install.sh: no network: pip cannot reach its package index' in text
    log = text.rpartition('Full log: ')[2].strip()
    assert 'No matching distribution found for torch' in Path(log).read_text()

    # The second run keeps the environment; no space is named before anything is downloaded.
    full = tree.parent / 'df'
    full.write_text('#!/bin/sh\necho Filesystem; echo /dev/sda 100000 97500 2500 98% /\n')
    full.chmod(0o755)
    code, text = install(tree, **NOWHERE, PATH=f'{tree.parent}{os.pathsep}{os.environ["PATH"]}')
    assert code == 1
    assert 'Making .venv' not in text
    assert 'no disk space: torch with its libraries needs at least 3.0 GB in ' in text
    assert 'but 2.5 GB are free' in text


def active():
    """The environment of the tests as the active one."""
    return {'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'}


def test_everything_is_there():
    try:
        importlib.metadata.version('mmmaskany')
    except importlib.metadata.PackageNotFoundError:
        pytest.skip('mmmaskany is not installed, it only lies on the path')
    start = time.monotonic()
    code, text = install(ROOT, '--current-env', '--check', TMPDIR='/tmp', **active())
    assert code == 0, text
    assert 'Everything is there' in text
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ('name', 'code', 'message'),
    [
        ('torch', '__version__ = "2.5.1"', 'torch: RuntimeError: is 2.5.1, but torch >= 2.6 must hold'),
        ('cv2', 'raise ImportError("libGL.so.1: cannot open shared object file")', 'opencv-python: libGL.so.1: cannot'),
        ('mmcv', '__path__ = []', f"{MINE['mmcv']}: ModuleNotFoundError: No module named 'mmcv.ops'"),
        (
            'mmdet',
            'raise AssertionError("MMCV==2.3.0 is used but incompatible.")',
            f'{MINE["mmdet"]}: AssertionError: MMCV==2.3.0',
        ),
        ('mmcv', 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)', f'{MINE["mmcv"]}: its operators crash'),
    ],
)
def test_what_is_broken(name, code, message, tree):
    (tree.parent / f'{name}.py').write_text(code)
    status, text = install(tree, '--current-env', '--check', PYTHONPATH=str(tree.parent), **active())
    assert status == 1
    assert f'  {message}' in text


def test_both_sets_of_libraries_and_what_an_uninstall_left(tree):
    """Of the other set there are metadata, of mmcv there is a folder and none."""
    mine, other = (choose_set(), 'onedl-mmengine' if choose_set() == 'originals' else 'mmengine')
    site = tree.parent / 'a site'
    (site / 'mmcv').mkdir(parents=True)
    info = site / f'{other.replace("-", "_")}-9.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {other}\nVersion: 9\n')
    (site / 'sitecustomize.py').write_text(f"""
import importlib.metadata, sysconfig
found, path = importlib.metadata.distributions, sysconfig.get_path
importlib.metadata.distributions = lambda: (one for one in found() if 'mmcv' not in one.name)
sysconfig.get_path = lambda name, *args: {str(site)!r} if name.endswith('lib') else path(name, *args)
""")
    code, text = install(tree, '--current-env', '--check', '--hosts', mine, PYTHONPATH=str(site), **active())
    assert code == 1
    assert f"  mmcv: an uninstall left its folder behind: rm -r '{site / 'mmcv'}'\n" in text
    assert f'  {other}: is of the other set of libraries, which owns the same files as {mine}\n' in text
    assert 'The shortest way: bash tools/install.sh ' in text


# ------------------------------------------------------------------------------------------ a stand-in interpreter

STAND_IN = r"""#!/bin/bash
# Answers install.sh from the files beside it and notes how pip is called.
here="$(dirname "$0")"
case "$*" in
  *missing_packages*)  # plan.1 at the first look, then plan.2 ...
    echo "${@: -3}" >>"$here/asked"
    n=$(($(cat "$here/looks" 2>/dev/null || echo 0) + 1)); echo "$n" >"$here/looks"
    if [[ -e "$here/plan.$n" ]]; then cat "$here/plan.$n"; fi ;;
  *requirements/build.txt*) ;;
  '-m pip install '* | '-m pip wheel '*) echo "$*" >>"$here/calls"; . "$here/pip" ;;
  *'print(sys.prefix)'*) echo "$here" ;;
  *choose_set*) cat "$here/hosts" ;;
  *'import distributions'* | *found_sets*) cat "$here/owners" ;;
  '-m pip uninstall '*) echo "$*" >>"$here/calls" ;;
  *'version("torch")'*) echo "torch==${TORCH:-2.11.0}" ;;
  *cpp_extension*) exit 1 ;;
esac
"""
MMCV = 'mmcv\tmmcv\tnot installed\n'


@pytest.fixture
def stand_in(tree):
    """``stand_in(pip, plan, plan ...)`` puts the interpreter in place: what its pip does, what is missing when."""

    def make(pip, *plans, hosts='originals'):
        bin_ = tree / '.venv' / 'bin'
        bin_.mkdir(parents=True)
        (bin_ / 'python').write_text(STAND_IN)
        (bin_ / 'python').chmod(0o755)
        (bin_ / 'pip').write_text(pip)
        (bin_ / 'owners').touch()
        (bin_ / 'hosts').write_text(hosts)
        for n, plan in enumerate(plans, 1):
            (bin_ / f'plan.{n}').write_text(plan)
        return bin_

    return make


@pytest.mark.parametrize(
    ('log', 'message'),
    [
        ('./mmcv/ops/x.cpp:1:10: fatal error: Python.h: No such file or directory', 'no Python headers: Python.h'),
        ("OSError: [Errno 28] No space left on device: 'x'", 'no disk space left ('),
        ('g++: fatal error: Killed signal terminated program cc1plus', 'not enough memory to compile mmcv'),
        (
            'The detected CUDA version (12.4) mismatches the version that was used to compile PyTorch (13.0).',
            "nvcc) does not match torch's CUDA build: The detected CUDA version (12.4)",
        ),
        ('error: externally-managed-environment', 'the active Python belongs to the system'),
        ("Max retries exceeded (Caused by NameResolutionError: Temporary failure in name resolution)')", 'no network'),
        (
            "PermissionError: [Errno 13] Permission denied: '/x'",
            "no write permission: Errno 13] Permission denied: '/x'",
        ),
        ('something else', "the step 'mmcv' failed"),
    ],
)
def test_the_name_of_a_failure(log, message, tree, stand_in):
    stand_in(f'cat <<"END"\n{log}\nEND\nexit 1\n', *[MMCV] * 3)
    code, text = install(tree)
    assert code == 1
    assert f'{log}\n' in text  # the end of the log is shown
    assert message in text


def test_no_compiler(tree, stand_in):
    stand_in('echo "error: command g++ failed: No such file or directory"; exit 1', *[MMCV] * 3)
    code, text = install(tree, CXX='g++-of-nowhere')
    assert code == 1
    assert 'install.sh: no C++ compiler: g++-of-nowhere is not on the PATH' in text
    assert 'bash tools/install.sh --classification' in text


#: Notes how it is called. With headers it does what the file `headers` beside it says.
COMPILER = r"""#!/bin/bash
here="$(dirname "$0")"
[[ "$*" != --version ]] || exit 0
printf '%s;' "${@/#*compiler\/}" >>"$here/compiled"; echo >>"$here/compiled"
case " $* " in
  *' c++-header '*) . "$here/headers" ;;
  *' -include '*) [[ -e "$(sed 's/.* -include \([^ ]*\).*/\1/' <<<"$*")" ]] ;;
esac
"""
BUILD = """case "$*" in *" wheel "*)
  for file in 'one two' three; do
    $CXX -MMD -MF x.d -I'/torch/include a' -c -c "/s/$file.cpp" -o x.o -std=c++17 || exit
  done
  (cd "$(dirname "$CXX")" && echo *.*) >"$here/made"
  $CXX -shared x.o -o x.so && $CXX -c other.cpp
esac"""


def compiler(folder, name='g++', headers='touch "${@: -1}"'):
    """Make a compiler and return the search path that finds it first."""
    (folder / name).write_text(COMPILER)
    (folder / name).chmod(0o755)
    (folder / 'headers').write_text(headers)
    return f'{folder}{os.pathsep}{os.environ["PATH"]}'


@pytest.mark.parametrize(('torch', 'standard'), [('2.13.1', 'c++17'), ('2.14.0+cpu', 'c++20'), ('3.0.0', 'c++20')])
@pytest.mark.parametrize('headers', ['touch "${@: -1}"', 'touch "${@: -1}"; exit 1', 'true'])
def test_how_mmcv_is_compiled(torch, standard, headers, tree, stand_in):
    """The headers of torch once, if they can be; by the standard that they need, whatever mmcv asks for."""
    path = compiler(tree, headers=headers)
    bin_ = stand_in(BUILD, MMCV, MMCV)
    code, text = install(tree, TORCH=torch, PATH=path)
    assert code == 0, text
    options = f'-I/torch/include a;-std={standard};'
    file = f'-MMD;-MF;x.d;-I/torch/include a;-c;-c;/s/{{}}.cpp;-o;x.o;-std={standard};-include;torch.h;'
    header, *rest = (tree / 'compiled').read_text().splitlines()
    assert header == f'{options}-x;c++-header;trial/torch.h;-o;trial/torch.h.gch;'
    if 'exit 1' not in headers:  # it says that it could
        assert rest.pop(0) == f'{options}-include;trial/torch.h;-fsyntax-only;-x;c++;/dev/null;'
    assert rest == [file.format('one two'), file.format('three'), '-shared;x.o;-o;x.so;', '-c;other.cpp;']
    made = (bin_ / 'made').read_text().split()
    assert made == (['torch.h', 'torch.h.gch'] if headers == 'touch "${@: -1}"' else ['torch.h'])


@pytest.mark.parametrize('cxx', ['g++-99', 'cache g++-99', '{tree}/g++-99'])
def test_the_compiler_of_the_user(cxx, tree, stand_in):
    """It is called as it was named, for mmcv alone: other packages are built as ever."""
    path = compiler(tree, 'g++-99')
    (tree / 'cache').write_text('#!/bin/bash\nexec "$@"\n')
    (tree / 'cache').chmod(0o755)
    if '{' in cxx:  # a name of several words cannot be told from a name with spaces
        (tree.parent / 'link').symlink_to(tree)
        cxx = cxx.format(tree=tree.parent / 'link')
    rest = 'hosts\tmmdet\tnot installed\n'
    pip = 'echo "$* ${CXX:-}" >>"$here/compilers";' + BUILD
    bin_ = stand_in(pip, MMCV + rest, MMCV + rest, rest)
    code, text = install(tree, CXX=cxx, PATH=path)
    assert code == 0, text
    assert (tree / 'compiled').read_text().splitlines()[-1] == '-c;other.cpp;'
    calls = (bin_ / 'compilers').read_text().splitlines()
    (wheel,) = (call for call in calls if ' wheel ' in call)
    assert wheel.endswith(f'/compiler/{cxx.split()[0].split("/")[-1]}')
    others = [call for call in calls if call != wheel]
    assert others and all(call.endswith(f' {cxx}') for call in others)


def test_many_files_at_a_time(tree, tmp_path):
    """One of them compiles the headers; no one misses them."""
    path = compiler(tree, headers='sleep 0.2; touch "${@: -1}"')
    (tmp_path / 'compiler').mkdir()
    script = shutil.copy(tree / 'tools/misc/compiler.sh', tmp_path / 'compiler' / 'g++')
    (tmp_path / 'compiler' / 'torch.h').touch()
    env = environment(tree, dict(PATH=path, REAL_CXX=str(tmp_path / 'real'), CXX_STANDARD='c++17'))
    (tmp_path / 'real').symlink_to(tree / 'g++')
    for name in ('headers', 'compiled'):
        (tmp_path / name).symlink_to(tree / name)
    running = [
        subprocess.Popen(['bash', script, '-I/torch/include', '-c', f'{n}.cpp', '-o', f'{n}.o'], env=env)
        for n in range(8)
    ]
    assert [process.wait() for process in running] == [0] * 8
    calls = (tree / 'compiled').read_text().splitlines()
    assert len(calls) == 10 and sum('c++-header' in call for call in calls) == 1
    assert sorted(path.name for path in (tmp_path / 'compiler').iterdir()) == [
        'first',
        'g++',
        'log',
        'torch.h',
        'torch.h.gch',
    ]


@pytest.mark.parametrize('hindrance', ['a space in its name', 'nothing may be executed in it'])
def test_a_temporary_folder_that_allows_no_stand_in(hindrance, tree, stand_in):
    folder = tree.parent / ('two words' if hindrance.startswith('a space') else 'folder')
    folder.mkdir()
    if not hindrance.startswith('a space'):
        # As root nothing can be forbidden here: a script that cannot be run is as good.
        (tree / 'tools' / 'misc' / 'compiler.sh').write_text('#!/of/nowhere\n')
    bin_ = stand_in('case "$*" in *" wheel "*) echo "${CXX:-none}" >"$here/compiler" ;; esac', MMCV, MMCV)
    code, text = install(tree, TMPDIR=str(folder), PATH=compiler(tree))
    assert code == 0, text
    assert (bin_ / 'compiler').read_text() == 'none\n'
    assert 'compiling will take longer. TMPDIR moves it.' in text


def test_of_a_failed_build_the_log_is_left(tree, stand_in):
    stand_in(f'{BUILD}; echo C++20 or later compatible compiler is required; exit 1', *[MMCV] * 3)
    folder = tree.parent / 'temporary'
    folder.mkdir()
    code, text = install(tree, TMPDIR=str(folder), PATH=compiler(tree))
    assert code == 1
    assert 'this torch needs C++20' in text
    (work,) = folder.iterdir()
    assert [path.name for path in work.iterdir()] == ['log']


def test_classification_compiles_nothing(tree, stand_in):
    lite = 'mmcv\tmmcv-lite\tnot installed\n'
    bin_ = stand_in('', lite, lite)
    code, text = install(tree, '--classification')
    assert code == 0, text
    (call,) = (bin_ / 'calls').read_text().splitlines()
    assert call.endswith(' mmcv-lite==2.1.0')
    assert '--no-build-isolation' not in call
    assert (bin_ / 'asked').read_text().split() == ['verified', 'classification', 'originals'] * 4


@pytest.mark.parametrize('owners', ['mmcv-lite', 'mmcv\nmmcv-lite'])
def test_from_classification_to_everything(owners, tree, stand_in):
    """The two own the same files: what is left of one when the other was taken out is of no use."""
    broken = "mmcv\tmmcv\tModuleNotFoundError: No module named 'mmcv._ext'\n"
    bin_ = stand_in('', broken, broken)
    (bin_ / 'owners').write_text(owners)
    code, text = install(tree)
    assert code == 0, text
    out, build, in_ = (bin_ / 'calls').read_text().splitlines()
    assert out == f'-m pip uninstall -y {" ".join(owners.split())}'
    assert build.startswith('-m pip wheel ') and build.endswith(' mmcv==2.1.0')
    assert in_.startswith('-m pip install ') and in_.endswith(' mmcv==2.1.0')


def test_the_rest_comes_while_mmcv_compiles(tree, stand_in):
    """What fails of it is done again, and told, by its own step."""
    rest = 'hosts\tmmdet\tnot installed\ntests\tpytest\tnot installed\n'
    # The compiler ends only when the rest has come; that fails the first time.
    pip = """case "$*" in
      *' wheel '*) while [[ ! -e "$here/rest" ]]; do sleep 0.05; done ;;
      *mmdet*) [[ -e "$here/rest" ]] || { touch "$here/rest"; echo 'Max retries'; exit 1; } ;;
    esac"""
    bin_ = stand_in(pip, MMCV + rest, MMCV + rest, rest, rest.partition('tests')[0])
    code, text = install(tree)
    assert code == 0, text
    assert 'and all else meanwhile' in text
    assert 'Installing mmdet==3.3.0 (about a minute)' in text
    calls = [call.split(' -c ')[-1].split()[1:] for call in (bin_ / 'calls').read_text().splitlines()]
    assert ['mmdet==3.3.0', 'pytest>=8'] in calls


@pytest.mark.parametrize('hosts', ['originals', 'onedl'])
def test_the_sets_of_libraries(hosts, tree, stand_in):
    """Each with its own versions; what is installed of the other goes out first, and of the set itself, too."""
    mine, other = ('mmcv', 'onedl-mmcv') if hosts == 'originals' else ('onedl-mmcv', 'mmcv')
    torch = 'torch\ttorch\tnot installed\n'
    both = f'others\t{other}\tis of the other set of libraries\n'
    mmcv = f'mmcv\t{mine}\tnot installed\n'
    bin_ = stand_in('', both + torch + mmcv, torch + mmcv, mmcv, mmcv, hosts=hosts)
    (bin_ / 'owners').write_text(f'{mine}\n{other}\n')
    code, text = install(tree)
    assert code == 0, text
    assert (bin_ / 'asked').read_text().split()[:3] == ['verified', 'everything', hosts]
    calls = (bin_ / 'calls').read_text().splitlines()
    assert calls[0] == f'-m pip uninstall -y {mine} {other}'
    versions = dict(originals=['torch==2.11.0', 'mmcv==2.1.0'], onedl=['torch==2.13.0', 'onedl-mmcv==2.3.6'])[hosts]
    asked_for = [call.split()[-1] for call in calls if ' uninstall ' not in call]
    assert list(dict.fromkeys(asked_for)) == versions


def test_an_uninstall_left_something_behind(tree, stand_in):
    bin_ = stand_in('', "left\tmmcv\tan uninstall left its folder behind: rm -r '/a/mmcv'\n" + MMCV)
    code, text = install(tree)
    assert code == 1
    assert "  mmcv: an uninstall left its folder behind: rm -r '/a/mmcv'" in text
    assert 'install.sh: pip does not see the above: remove it by that command' in text
    assert not (bin_ / 'calls').exists()


def test_a_step_that_was_killed(tree, stand_in):
    stand_in('kill -9 $$', *[MMCV] * 3)
    code, text = install(tree)
    assert code == 1
    assert "install.sh: the step 'mmcv' was ended by signal 9 (out of memory? MAX_JOBS=1" in text


def test_a_stale_wheel_is_built_anew(tree, stand_in):
    broken = "mmcv\tmmcv\tModuleNotFoundError: No module named 'mmcv._ext'\n"
    bin_ = stand_in('', MMCV, MMCV, broken)
    code, text = install(tree)
    assert code == 0, text
    assert "pip is content, yet this does not work:\n  mmcv: ModuleNotFoundError: No module named 'mmcv._ext'" in text
    build, first, second = (bin_ / 'calls').read_text().splitlines()
    assert '--no-build-isolation' in build
    assert '--no-cache-dir' not in build + first
    assert '--find-links' in first and '--find-links' not in second
    assert '--no-build-isolation' in second
    assert '--no-cache-dir --force-reinstall --no-deps' in second


def test_what_stays_broken_is_no_success(tree, stand_in):
    broken = "mmcv\tmmcv\tModuleNotFoundError: No module named 'mmcv._ext'\n"
    stand_in('', *[broken] * 9)
    code, text = install(tree)
    assert code == 1
    assert 'install.sh: mmcv==2.1.0 still does not work after a fresh install' in text


def test_stopping_it_stops_the_compilers(tree, stand_in):
    bin_ = stand_in('sleep 300 & echo $! >"$here/compiler"; wait', *[MMCV] * 3)
    script = tree / 'tools' / 'install.sh'
    process = subprocess.Popen(
        ['bash', script],
        env=environment(tree, {}),
        stdout=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores the signal, and so would all below it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    compiler = bin_ / 'compiler'
    deadline = time.monotonic() + 30
    while not (compiler.exists() and compiler.read_text().endswith('\n')):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert 'stopped; run it again to go on' in text
    pid = int(compiler.read_text())
    deadline = time.monotonic() + 30
    while Path(f'/proc/{pid}').exists() and 'State:\tZ' not in Path(f'/proc/{pid}/status').read_text():
        assert time.monotonic() < deadline, 'the compiler runs on'
        time.sleep(0.05)


# ------------------------------------------------------------------------------------------ the support matrix

#: Makes an "environment" of itself, in which all is there, and whose tests end as the file `tests` says.
INTERPRETER = r"""#!/bin/bash
here="$(dirname "$0")"
case "$*" in
  '-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$here/tests" "$3/bin" ;;
  *'platform.python_version'*) echo 3.13.7 ;;
  *'version("torch")'*) echo 2.13.1 ;;
  '-m pip install torch==9.9.'*) echo 'ERROR: No matching distribution found for torch==9.9.*'; exit 1 ;;
  '-m pytest '*) . "$here/tests" ;;
esac
"""


def matrix(folder, *args):
    env = environment(folder / 'x', {})
    result = subprocess.run(
        ['bash', ROOT / 'tools/misc/support_matrix.sh', *args], env=env, capture_output=True, text=True
    )
    assert not list(folder.glob('mmmaskany-matrix.*'))  # no litter
    return result.returncode, result.stdout.splitlines(), result.stderr


@pytest.mark.skipif(not (ROOT / '.git').exists(), reason='the script copies what git knows of')
def test_support_matrix(tmp_path):
    python = tmp_path / 'python3.99'
    python.write_text(INTERPRETER)
    python.chmod(0o755)
    (tmp_path / 'tests').write_text('echo 3 passed')
    head = ['| libraries | Python | torch | |', '| --- | --- | --- | --- |']
    code, rows, _ = matrix(tmp_path, f'onedl/{python}/newest')
    assert (code, rows) == (0, [*head, '| onedl | 3.13.7 | 2.13.1 | tests pass |'])

    (tmp_path / 'tests').write_text('echo 2 failed, 1 passed; exit 1')
    cells = [f'onedl/{python}/2.13', f'originals/{python}/9.9', 'originals/python-of-nowhere/2.11']
    code, rows, _ = matrix(tmp_path, *cells)  # one that fails does not stop the others
    assert code == 1
    assert rows[2] == '| onedl | 3.13.7 | 2.13.1 | fails: tests: 2 failed, 1 passed |'
    assert rows[3].endswith('| fails: torch: ERROR: No matching distribution found for torch==9.9.* |')
    assert rows[4].startswith('| originals | python-of-nowhere | 2.11 | fails: venv: ')

    code, rows, _ = matrix(tmp_path, '--build-only', f'onedl/{python}/2.13')
    assert (code, rows[2:]) == (0, ['| onedl | 3.13.7 | 2.13.1 | builds |'])
    code, _, text = matrix(tmp_path, 'mim/python3/2.13')
    assert code == 2
    assert 'no cell: mim/python3/2.13' in text
