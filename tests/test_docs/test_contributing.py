# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""CONTRIBUTING.md: its recipes are followed as they stand, and what it names is there."""

import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from mmengine.config import Config
from shipped import ROOT

from mmmaskany import masking
from mmmaskany.builder import build_pattern
from mmmaskany.models import classifiers, stems
from mmmaskany.models.stems import find
from mmmaskany.registry import MODELS

PAGE = (ROOT / 'CONTRIBUTING.md').read_text()
BLOCKS = dict(re.findall(r'```python\n# ([^\n]+)\n(.*?)```', PAGE, re.DOTALL))
#: What comes into the package, each with the file that lint takes it for.
CODE = {'pattern': 'mmmaskany/a.py', 'fusion': 'mmmaskany/a.py', 'model of the method': 'mmmaskany/a.py'}
CODE |= {name: 'tests/test_a.py' for name in BLOCKS if name.startswith('test of')}
CODE |= {'config of the method': 'configs/a/a.py'}


@pytest.fixture
def contribute(monkeypatch):
    """Bring the class of a block into a package of ours, for one test: ``contribute(name, package)``."""
    monkeypatch.setattr(MODELS, '_module_dict', dict(MODELS.module_dict))

    def bring(name, package):
        exec(BLOCKS[name], space := {'__name__': f'{package.__name__}.contributed'})
        (kind,) = (each for each in space.values() if getattr(each, '__module__', None) == space['__name__'])
        monkeypatch.setattr(package, kind.__name__, kind, raising=False)
        return kind

    return bring


def follow(name, **fixtures):
    """Run the tests of a block."""
    exec(BLOCKS[name], space := {})
    tests = [value for key, value in space.items() if key.startswith('test_')]
    assert tests
    for test in tests:
        test(**fixtures)


def run(*args, **more):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, **more)


# ---------------------------------------------------------------------- the recipes


def test_a_pattern(contribute):
    MODELS.register_module(module=contribute('pattern', masking))
    follow('test of the pattern')
    pattern = build_pattern(dict(type='mmmaskany.DiscPattern', scale=0.5, cell=4))
    assert pattern.numbers(16, 16) == 2 and pattern.base == 4
    images = torch.rand(2, 3, 16, 16)
    visible, reused, draw = masking.Masking(pattern)(images)
    assert draw.ratio.tolist() == [0.25, 0.25] and torch.equal(masking.restore(visible, reused, draw), images)


def test_a_pattern_in_its_place(tmp_path):
    shutil.copytree(ROOT / 'mmmaskany', tmp_path / 'mmmaskany', ignore=shutil.ignore_patterns('.mim', '__pycache__'))
    folder = tmp_path / 'mmmaskany/masking/patterns'
    (folder / 'disc.py').write_text(BLOCKS['pattern'])
    exports = (folder / '__init__.py').read_text()
    line = 'from .grid import GridPattern\n'
    assert line in exports
    (folder / '__init__.py').write_text(exports.replace(line, f'from .disc import DiscPattern\n{line}'))
    code = (
        'import mmmaskany.masking; from mmmaskany.masking.patterns import DiscPattern as disc; print(disc.__module__)'
    )
    done = run('-c', code, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(tmp_path)})
    assert done.stdout == 'mmmaskany.masking.patterns.disc\n', done.stderr


def test_a_pattern_among_all_others(tmp_path):
    """The line of conftest.py: what holds for every pattern holds for this one."""
    shutil.copytree(ROOT / 'tests/test_masking', tmp_path / 'tests/test_masking')
    for helper in (ROOT / 'tests').glob('*.py'):
        shutil.copy(helper, tmp_path / 'tests')
    shutil.copy(ROOT / 'pyproject.toml', tmp_path)
    (tmp_path / 'contributed.py').write_text(BLOCKS['pattern'])
    conftest = tmp_path / 'tests/test_masking/conftest.py'
    function = BLOCKS['test of the pattern'].partition('def disc(')
    bring = 'from contributed import DiscPattern\n\n\n' + ''.join(function[1:])
    text, mark, rest = conftest.read_text().partition('PATTERNS = [')
    conftest.write_text(f'{text}{bring}\n\n{mark}disc, {rest}')
    env = {**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'}
    files = [f'tests/test_masking/test_{name}.py' for name in ('patterns', 'graphs')]
    done = run('-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-k', '[disc', *files, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r'(\d+) passed', done.stdout)[1]) > 70


def test_a_fusion(contribute):
    contribute('fusion', stems)
    follow('test of the fusion')


def test_a_family_of_backbones(monkeypatch):
    row = eval(BLOCKS['row of the table of stems'])
    with pytest.raises(ValueError, match='the stem of InceptionV3 is not known'):  # else take another example
        follow('test of the family')
    monkeypatch.setattr(find, '_STEMS', (*find._STEMS, row))
    follow('test of the family')


def test_a_method(contribute, tmp_path):
    contribute('model of the method', classifiers)
    for name in ('_base_', 'maskany'):
        (tmp_path / name).symlink_to(ROOT / 'configs' / name)
    path = tmp_path / 'agreeing/agreeing_resnet18-narrow_1xb32-coslr-8e_digits.py'
    path.parent.mkdir()
    path.write_text(BLOCKS['config of the method'])
    follow('test of the method', config=Config.fromfile(path))


@pytest.mark.parametrize('name', CODE)
def test_lint_and_format(name):
    code = f'# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.\n{BLOCKS[name]}'
    for command in (['check'], ['format', '--check']):
        done = run('-m', 'ruff', *command, '--stdin-filename', CODE[name], '-', input=code, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr


def test_types(tmp_path):
    pytest.importorskip('mypy')
    paths = []
    for name in (name for name, file in CODE.items() if file.startswith('mmmaskany')):
        paths.append(tmp_path / f'{name.replace(" ", "_")}.py')
        paths[-1].write_text(BLOCKS[name])
    done = run('-m', 'mypy', *paths, cwd=ROOT)
    assert done.returncode == 0 and 'no issues found in 3 source files' in done.stdout, done.stdout + done.stderr


# ---------------------------------------------------------------------- what the page names


def test_links_and_places_exist():
    for link, anchor in re.findall(r'\]\((?!http)([^)#]*)#?([^)]*)\)', PAGE):
        text = (ROOT / link).read_text() if link else PAGE
        headings = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
        assert not anchor or anchor in [heading.lower().replace(' ', '-') for heading in headings], (link, anchor)
    prose = re.sub(r'```.*?```', '', PAGE, flags=re.DOTALL)
    before, _, rest = prose.partition('## Where things are')
    _, after = rest.split('\n## ', 1)
    places = re.findall(r'`((?:mmmaskany|tests|tools|configs|docs)\b[\w./]*\b|pyproject\.toml|CHANGELOG\.md)`', prose)
    assert len(places) > 15
    for place in places:
        module = place.startswith('mmmaskany.')
        assert importlib.import_module(place) if module else (ROOT / place).exists(), place
    assert not re.search(r'`(?:mmmaskany|tests)/(?!masking`)', before + after)  # what moves is changed in one place


def test_names_of_lists_exist():
    lists = {
        'PATTERNS': ['tests/test_masking/conftest.py'],
        'NAMED_PATTERNS': ['mmmaskany/analysis/named_patterns.py'],
        'PINNED': ['tests/test_masking/test_guided.py'],
        'BACKBONES': ['tools/analysis_tools/backbone_table.py'],
        'FAMILIES': ['tests/test_models/test_families.py'],
    }
    assert set(re.findall(r'`([A-Z_]{4,})`', PAGE)) == set(lists)
    for name, files in lists.items():
        for file in files:
            assert re.search(rf'^{name} = ', (ROOT / file).read_text(), re.MULTILINE), (name, file)


def test_parts_of_a_page_of_a_method():
    parts = runpy.run_path(str(ROOT / 'tests/test_docs/test_methods.py'))['PARTS']
    (said,) = re.findall(r'with the parts (.+?), a picture', ' '.join(PAGE.split()))
    assert re.findall(r'\*([\w ]+)\*', said) == parts


def test_commands_that_measure():
    commands = re.findall(r'`python (tools/\S+\.py)([^`|]*)`', PAGE)
    assert len(commands) == 6
    for tool, options in commands:
        text = (ROOT / tool).read_text()
        assert all(f"'{option}'" in text for option in re.findall(r'--[\w-]+', options)), (tool, options)


def test_a_commit_is_told_what_run_tests_says():
    said = re.findall(
        r'"\$py" -m ([\w -]+?)(?: "\$@"| --check \.| \.|) \|\|', (ROOT / 'tools/run_tests.sh').read_text()
    )
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos'][-1]['hooks']
    assert [*(' '.join(hook['entry'].split(' --')[0].split()[2:]) for hook in hooks), 'pytest'] == said
