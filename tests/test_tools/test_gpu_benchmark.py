# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""All that a GPU is to be asked: the commands are there and fit together, without one."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def gpu():
    return runpy.run_path(str(ROOT / 'tools/benchmarks/gpu.py'))


@pytest.mark.parametrize('tiny', [False, True])
def test_the_commands_name_what_there_is(gpu, tiny):
    pieces = gpu['pieces'](tiny)
    assert len(pieces) == 10 + 2 + 2 + 2 + 8 + 1 + 8
    for command in pieces.values():
        for path in re.findall(r'\S+\.(?:py|sh)', command):
            assert (ROOT / path).is_file(), path
        assert ('--device cuda' in command) <= (not tiny)


def test_a_piece_is_done_once(gpu, tmp_path, capsys):
    options = [str(tmp_path / 'out'), '--tiny', '--only', 'masking-black']
    assert gpu['main']([*options, '--dry-run']) == 0 and not (tmp_path / 'out').exists()
    assert 'benchmark_masking.py --no-step --device cpu' in capsys.readouterr().out
    assert gpu['main'](options) == 0
    assert 'masking-black ... done in' in capsys.readouterr().out
    figures = json.loads((tmp_path / 'out/masking-black.json').read_text())
    assert figures['settings']['fill'] == 'black' and len(figures['rows']) == 14
    assert 'draw + fill + recompose (black)' in (tmp_path / 'out/masking-black.txt').read_text()
    assert gpu['main'](options) == 0
    assert 'masking-black: done before' in capsys.readouterr().out


def test_a_piece_that_fails_does_not_stop_the_others(gpu, tmp_path, capsys, monkeypatch):
    pieces = {'first': 'echo no such thing; exit 3', 'second': 'echo {out}'}
    monkeypatch.setitem(gpu['main'].__globals__, 'pieces', lambda tiny: pieces)
    assert gpu['main']([str(tmp_path), '--tiny']) == 1
    said = capsys.readouterr().out
    assert 'first ... failed with exit code 3' in said and '  no such thing' in said and 'failed: first' in said
    assert (tmp_path / 'second.txt').read_text() == f'{tmp_path / "second.json"}\n'
    pieces['first'] = 'true'
    assert gpu['main']([str(tmp_path), '--tiny']) == 0
    assert 'second: done before' in capsys.readouterr().out
    pieces['second'] = 'echo another command'
    assert gpu['main']([str(tmp_path), '--tiny']) == 0
    said = capsys.readouterr().out
    assert 'first: done before' in said and 'second ... done in' in said


def test_an_unknown_piece(gpu, tmp_path):
    with pytest.raises(ValueError, match='--only must be of step-resnet, .*, but got step-vgg'):
        gpu['main']([str(tmp_path), '--only', 'step-*', 'step-vgg'])


def test_no_gpu_and_no_folder(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='torch must see a GPU, but sees none: --tiny tries the commands'):
        gpu['main']([str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='FOLDER must be a folder, but .*file is a file'):
        gpu['main']([str(tmp_path / 'file'), '--tiny'])
