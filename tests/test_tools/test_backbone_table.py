# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'backbones.md'


def cells(line):
    return [cell.strip() for cell in line.strip('|\n').split(' | ')]


def test_the_table_is_what_the_script_measures(tool, capsys):
    rows = tool('analysis_tools/backbone_table')(['--only', 'MobileNetV', '--out', '-'])
    assert [row[0] for row in rows] == ['MobileNetV2', 'MobileNetV3-Small']
    written = {cells(line)[0]: cells(line) for line in DOCUMENT.read_text().splitlines() if line.startswith('| ')}
    assert [written[row[0]] for row in rows] == rows
    # 3 -> 32 channels by 3 x 3 at stride 1 on 112 x 112 px, its norm, and the scale of the fusion.
    assert rows[0][4] == f'{3 * 32 * 9 + 2 * 32 + 32:,}'
    assert rows[0][5].startswith(f'{3 * 32 * 9 * 112 * 112 / 1e6:.1f} ')
    assert rows[0][6:] == ['loads', '0', '0']
    assert cells(capsys.readouterr().out.splitlines()[-1]) == rows[1]


def test_no_backbone_of_that_name(tool, capsys):
    with pytest.raises(SystemExit):
        tool('analysis_tools/backbone_table')(['--only', 'Nothing'])
    assert "--only must be part of one of ['ResNet-50'" in capsys.readouterr().err
