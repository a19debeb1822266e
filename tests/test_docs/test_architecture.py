# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The rooms of docs/architecture.md: all that there are, and imports go down the table alone."""

import ast
import re
import runpy

import cv2
from shipped import ROOT

PACKAGE = ROOT / 'mmmaskany'
ROWS = re.findall(r'^\| ((?:`\w+`(?:, )?)+) \|', (ROOT / 'docs/architecture.md').read_text(), re.MULTILINE)
#: The rooms, row by row from top to bottom.
ROOMS = [re.findall(r'\w+', row) for row in ROWS]


def modules():
    """Yield the modules of the package: (room, the package they lie in, their code)."""
    for path in PACKAGE.rglob('*.py'):
        parts = path.relative_to(PACKAGE).with_suffix('').parts
        if parts[0] not in ('.mim', '__init__', '__main__'):
            yield parts[0], ('mmmaskany', *parts[:-1]), ast.parse(path.read_text())


def imports(package, code):
    """Yield the rooms that a module imports from, in functions, too."""
    for node in ast.walk(code):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split('.') for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*above, *(node.module.split('.') if node.module else ())]
            names = [base] if base != ['mmmaskany'] else [[*base, alias.name] for alias in node.names]
        yield from (name[1] for name in names if name[0] == 'mmmaskany' and len(name) > 1)


def test_every_room_has_a_row():
    there = {room for room, _, _ in modules()}
    listed = [room for row in ROOMS for room in row]
    assert sorted(listed) == sorted(there) and len(there) > 10


def test_imports_go_down():
    level = {room: number for number, row in enumerate(ROOMS) for room in row}
    edges = {(room, other) for room, package, code in modules() for other in imports(package, code) if other != room}
    assert {('models', 'masking'), ('datasets', 'masking'), ('engine', 'models')} <= edges
    assert {(above, below) for above, below in edges if level[above] >= level[below]} == set()


def test_the_algebra_needs_torch_alone():
    names = set()
    for room, _, code in modules():
        for node in ast.walk(code) if room == 'masking' else ():
            if isinstance(node, ast.Import):
                names |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition('.')[0])
    assert 'torch' in names and not [name for name in names if name.startswith(('mm', 'onedl'))]


def test_the_picture_is_made_by_its_script(tmp_path):
    script = runpy.run_path(str(ROOT / 'docs/figures/architecture_picture.py'))
    assert script['main'](['--out', str(tmp_path / 'architecture.png')]) == 0
    shipped = ROOT / 'docs/figures/architecture.png'
    assert cv2.imread(str(tmp_path / 'architecture.png')).shape == cv2.imread(str(shipped)).shape
    assert shipped.stat().st_size < 200_000
