# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The site of tools/misc/build_docs.sh has every page; what is in it is checked by building it."""

import re

from shipped import ROOT

DOCS = ROOT / 'docs'


def toctrees():
    """Return the pages that the toctrees of docs/index.md list, as files, in their order."""
    blocks = re.findall(r'^```\{toctree\}\n(.+?)^```', (DOCS / 'index.md').read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith(':')]
    names = [re.sub(r'.*<(.+)>$', r'\1', line) for line in lines if not line.endswith('<api/mmmaskany/index>')]
    folders = [(ROOT, name[1:]) if name.startswith('/') else (DOCS, name) for name in names]
    return [path for folder, name in folders for path in sorted(folder.glob(f'{name}.md')) or [folder / f'{name}.md']]


def test_every_page_is_listed_once():
    listed = toctrees()
    assert len(listed) == len(set(listed))
    pages = {ROOT / name for name in ('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md')}
    pages |= {*(ROOT / 'configs').rglob('README.md')}
    pages |= {page for folder in (DOCS, DOCS / 'methods') for page in folder.glob('*.md')} - {DOCS / 'index.md'}
    assert set(listed) == pages


def test_the_extra_is_not_installed_by_default():
    names = re.findall(r'^([\w-]+)', (ROOT / 'requirements/docs.txt').read_text(), re.MULTILINE)
    assert names
    for other in set((ROOT / 'requirements').glob('*.txt')) - {ROOT / 'requirements/docs.txt'}:
        assert not {*names} & {*re.findall(r'^([\w-]+)', other.read_text(), re.MULTILINE)}, other
