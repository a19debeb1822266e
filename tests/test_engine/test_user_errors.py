# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""An error that is the user's is one sentence and exit status 2; one of ours shows its traceback."""

import importlib.util
import sys
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from mmmaskany import user_errors
from mmmaskany.engine.checks.config import read_config
from mmmaskany.masking import PatchPattern


@pytest.fixture
def our(tmp_path, monkeypatch):
    """Make functions of a module that counts as ours: ``our(source)`` returns its namespace."""
    monkeypatch.setattr(user_errors, '_OURS', (*user_errors._OURS, str(tmp_path)))

    def make(source):
        (tmp_path / 'ours.py').write_text(source)
        spec = importlib.util.spec_from_file_location('ours', tmp_path / 'ours.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return make


def test_what_we_refuse_is_one_sentence(capsys):
    assert user_errors.run(lambda argv: PatchPattern(scale=1.5)) == 2
    seen = capsys.readouterr().err
    assert 'error: scale must be in (0, 1), but got 1.5 (--traceback shows where)\n' in seen
    assert 'Traceback' not in seen
    with pytest.raises(ValueError, match='scale must be'):
        user_errors.run(lambda argv: PatchPattern(scale=1.5), ['--traceback'])


def test_exit_status_and_command_line():
    assert user_errors.run(lambda argv: None, []) == 0
    assert user_errors.run(lambda argv: 3, []) == 3
    seen = []
    user_errors.run(seen.extend, ['a', '--traceback', 'b'])
    assert seen == ['a', 'b']


@pytest.mark.parametrize(
    ('source', 'said'),
    [
        ("raise KeyError('no such key')", 'no such key'),
        ("raise FileNotFoundError('a.txt must exist')", 'a.txt must exist'),
        ("raise FloatingPointError('NaN')", 'NaN'),
        (
            "try:\n        {}['a']\n    except KeyError as error:\n        raise ValueError('wanted a') from error",
            'wanted a',
        ),
        ("{}['a']", None),  # not raised on purpose
        ("int('a')", None),
        ("assert False, 'an invariant'", None),
        ("try:\n        {}['a']\n    except KeyError:\n        raise", None),
        ('work()', None),  # RecursionError
        ("open('/nowhere/of/ours')", None),
        ('raise NotImplementedError', None),
    ],
)
def test_whose_error_it_is(our, source, said):
    module = our(f'def work():\n    {source}\n')
    with pytest.raises(Exception) as caught:
        module.work()
    assert user_errors.sentence(caught.value) == said


def test_errors_of_libraries_are_shown():
    def main(argv):
        raise ValueError('not ours')

    with pytest.raises(ValueError, match='not ours'):
        user_errors.run(main, [])


def test_files_of_the_command_line(tmp_path, capsys):
    path = tmp_path / 'no such.json'
    assert user_errors.run(lambda argv: Path(argv[0]).read_text(), [str(path)]) == 2
    assert f'error: No such file or directory: {path}' in capsys.readouterr().err
    assert user_errors.run(lambda argv: path.read_text(), [f'--out={path}']) == 2
    assert user_errors.run(lambda argv: path.read_text(), ['--show-dir', str(tmp_path)]) == 2
    with pytest.raises(FileNotFoundError):
        user_errors.run(lambda argv: Path('/nowhere').read_text(), [str(path)])


def test_config_that_is_missing_or_has_a_syntax_error(tmp_path, capsys):
    path = tmp_path / 'config.py'
    assert user_errors.run(lambda argv: read_config(path), []) == 2
    assert f'error: config {path} must be a file, but is missing' in capsys.readouterr().err
    path.write_text("_base_ = './none.py'")
    assert user_errors.run(lambda argv: read_config(path), []) == 2
    assert 'none.py' in capsys.readouterr().err
    path.write_text('a = 1\nb = dict(')
    assert user_errors.run(lambda argv: read_config(path), []) == 2
    assert f"config {path} must be Python, but line 2, 'b = dict(': '(' was never closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('config', 'module', 'kind', 'said'),
    [
        ("custom_imports = dict(imports=['nowhere_at_all'])", '', ImportError, "No module named 'nowhere_at_all'"),
        (
            "custom_imports = dict(imports=['theirs'])",
            'import nowhere_at_all',
            ImportError,
            "theirs.py, line 1, 'import",
        ),
        (
            "custom_imports = dict(imports=['theirs'])",
            'x = 1\ny = 1 / 0',
            ValueError,
            "theirs.py, line 2, 'y = 1 / 0': Zero",
        ),
        ("custom_imports = dict(imports=['theirs'])", 'def f(:', ValueError, 'theirs.py, line 1, '),
        ("custom_imports = ['theirs']", '', ValueError, 'must be a mapping'),
        ('from nowhere_at_all import Net\nmodel = dict(type=Net)', '', ImportError, "No module named 'nowhere_at_all'"),
        (
            'from torch.nn import Nothing\nmodel = dict(layer=[dict(type=Nothing)])',
            '',
            ImportError,
            'import Nothing from',
        ),
        ('from theirs import Net\nmodel = dict(type=Net)', 'def f(:', ValueError, 'theirs.py, line 1, '),
        ('a = 1\nb = c', '', ValueError, "but line 2, 'b = c': NameError: name 'c' is not defined"),
        ("filename = 'a'", '', ValueError, 'KeyError: filename is reserved'),
        ("_base_ = './config.py'", '', ValueError, 'RecursionError'),
    ],
)
def test_config_that_fails_or_imports_what_is_not_there(tmp_path, monkeypatch, capsys, config, module, kind, said):
    (tmp_path / 'config.py').write_text(config)
    (tmp_path / 'theirs.py').write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'theirs', raising=False)
    with pytest.raises(kind) as caught:
        read_config(str(tmp_path / 'config.py'))
    assert said in str(caught.value)
    assert user_errors.run(lambda argv: read_config(argv[0]), [str(tmp_path / 'config.py')]) == 2
    assert f'error: config {tmp_path / "config.py"} must ' in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, 'theirs', raising=False)


class _Refusing:
    def __init__(self, module):
        self.work = module.work

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.work()


@pytest.mark.parametrize(
    ('source', 'said'),
    [("raise ValueError('a.png\\n: must be: an image')", 'a.png\n: must be: an image'), ("int('a')", None)],
)
def test_errors_of_workers(our, source, said):
    with pytest.raises(ValueError) as caught:
        list(DataLoader(_Refusing(our(f'def work():\n    {source}\n')), num_workers=1))
    assert user_errors.sentence(caught.value) == said
