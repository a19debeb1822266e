# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The table of what is as published: whole, and about configs that there are."""

import re

from shipped import ROOT

TEXT = (ROOT / 'docs/fidelity.md').read_text()
ROWS = [[cell.strip() for cell in line.strip('|').split('|')] for line in TEXT.splitlines() if line.startswith('| ')]


def test_every_part_has_one_of_three_states_and_a_reason():
    head, rule, *rows = ROWS
    assert head == ['method', 'part', 'state', 'what, and why'] and set(rule) == {'---'}
    assert [row[0] for row in rows if row[0]] == ['**MaskAnyNet**', '**MaskSub**', '**MixMask**']
    part = ''
    for row in rows:
        assert len(row) == 4
        part = row[1] or part
        assert part and row[2] in ('as published', 'changed on purpose', 'unknown') and row[3]


def test_configs_and_pages_that_it_names_exist():
    shipped = {path.stem for path in (ROOT / 'configs').rglob('*.py')}
    named = re.findall(r'`([a-z][^` ]*_\d+xb[^` ]+)`', TEXT)
    assert len(named) == 2 and shipped.issuperset(named)
    for page in ('configs/maskany/README.md', 'configs/masksub/README.md', 'docs/methods/maskany.md'):
        assert 'fidelity.md' in (ROOT / page).read_text()
