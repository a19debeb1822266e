# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The rooms of the package: which may use which."""

import ast
from pathlib import Path

import pytest

import mmmaskany

PACKAGE = Path(mmmaskany.__file__).parent
#: From the ground up: what stands in a line uses nothing of the lines below it, nor of its neighbours.
FLOORS = (
    {'version', 'user_errors', 'registry', 'masking', 'environment'},
    {'parts', 'checkpoints'},
    {'hub', 'visualization', 'datasets'},
    {'models'},
    {'engine'},
    {'inference'},
    {'analysis'},
    {'experiments'},
    {'cli'},
    {'__main__'},
)
HEIGHT = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    """Name the folder, or the file at the top, that a file of the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def used_rooms(path: Path) -> set[str]:
    """Find the other rooms that a file imports from, where it is imported or later."""
    package = ['mmmaskany', *path.relative_to(PACKAGE).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = '.'.join([*base, *([node.module] if node.module else [])])
            names.update(f'{base}.{alias.name}' for alias in node.names)
    rooms = {name.split('.')[1] for name in names if name.startswith('mmmaskany.')}
    return rooms & set(HEIGHT) - {room_of(path)}


@pytest.mark.parametrize('path', sorted(PACKAGE.rglob('*.py')), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_down_only(path):
    room = room_of(path)
    if room == '__init__':
        assert used_rooms(path) == {'registry', 'version'}
    else:
        assert [used for used in used_rooms(path) if HEIGHT[used] >= HEIGHT[room]] == []


def test_every_room_is_known():
    assert {room_of(path) for path in PACKAGE.rglob('*.py')} - {'__init__'} == set(HEIGHT)


def test_an_upward_arrow_is_found(tmp_path, monkeypatch):
    source = tmp_path / 'masking/pattern.py'
    source.parent.mkdir()
    source.write_text('from ..models import stems\nimport torch\n\n\ndef later():\n    from mmmaskany import engine\n')
    monkeypatch.setattr(f'{__name__}.PACKAGE', tmp_path)
    assert used_rooms(source) == {'models', 'engine'}
