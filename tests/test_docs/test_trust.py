# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Each row of docs/trust.md names a test that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tables():
    """Yield the rows of the tables with a column of tests: (the folder in its head or '', the row's last cell)."""
    head = None
    for line in (ROOT / 'docs/trust.md').read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if not line.startswith('|'):
            head = None
        elif head is None:
            head = cells[-1]
        elif head.startswith('test') and set(cells[-1]) - set('- '):
            yield (re.findall(r'`(.*)`', head) or [''])[0], cells[-1]


ROWS = list(tables())


def test_there_are_rows():
    assert len(ROWS) >= 39


@pytest.mark.parametrize('row', range(len(ROWS)))
def test_each_row_names_tests_that_are_there(row):
    folder, cell = ROWS[row]
    if cell == 'the same':
        cell = ROWS[row - 1][1]
    names = re.findall(r'`(.*?)`', cell)
    assert names
    place = ''
    for name in names:
        path = ROOT / (name if name.startswith('tests/') else f'{folder or place}/{name}')
        place = str(path.relative_to(ROOT).parent)  # further names of a cell lie beside the first
        assert path.exists(), f'{path} is named by docs/trust.md'
        assert path.is_dir() or re.search(r'^    ?def test_|^def test_', path.read_text(), re.MULTILINE), path
