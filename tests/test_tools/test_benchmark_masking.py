# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json

import pytest

from mmmaskany import masking


@pytest.fixture
def measure(tool):
    main = tool('analysis_tools/benchmark_masking')
    return lambda *arguments: main([str(argument) for argument in arguments])


def test_figures_of_a_tiny_run(measure, tmp_path, capsys):
    path = tmp_path / 'figures' / 'masking.json'
    measure('--batch', 2, '--size', 32, '--turns', 2, '--warmup', 1, '--steps', 1, '--out', path)
    text = capsys.readouterr().out
    assert 'times a clone: ' in text and 'of a step of ' in text
    figures = json.loads(path.read_text())
    assert figures['step_ms'] > 0
    names = [(row['pattern'], row['format']) for row in figures['rows']]
    patterns = ['patch', 'grid', 'random', 'block', 'mixture', 'red noise', 'green noise']
    assert names == [(name, layout) for layout in ('contiguous', 'channels_last') for name in patterns]
    for row in figures['rows']:
        assert 0 < row['min'] <= row['ms'] and 0 < row['clone_min'] <= row['clone_ms']
        assert row['ratio_of_min'] == row['min'] / row['clone_min']


def test_without_the_step_as_markdown(measure, tmp_path, capsys):
    path = tmp_path / 'masking.md'
    measure('--batch', 2, '--size', 32, '--turns', 2, '--no-step', '--clock', 'processor', '--out', path)
    text = path.read_text()
    assert text == capsys.readouterr().out
    assert 'processor time' in text and ' of a step of ' not in text
    assert text.startswith('draw + fill + recompose (constant), 2 x 3 x 32 x 32')
    assert sum(line.startswith('| ') for line in text.splitlines()) == 16


@pytest.mark.parametrize('fill', ['constant', 'black', 'mean', 'token', 'image'])
def test_draw_and_fill_alone(fill, measure, capsys, monkeypatch):
    def refuse(*args):
        raise AssertionError('nothing is reused')

    filled = []
    monkeypatch.setattr('mmmaskany.masking.masking.recompose', refuse)
    kind = masking.ConstantFill if fill == 'black' else getattr(masking, f'{fill.title()}Fill')
    content = kind.content
    monkeypatch.setattr(kind, 'content', lambda self, images: filled.append(images.shape) or content(self, images))
    measure('--batch', 2, '--size', 32, '--turns', 2, '--warmup', 0, '--no-step', '--no-reuse', '--fill', fill)
    assert capsys.readouterr().out.startswith(f'draw + fill ({fill}), 2 x 3 x 32 x 32')
    assert filled == [(2, 3, 32, 32)] * 2 * 2 * 7  # formats, turns, patterns


@pytest.mark.gpu
def test_on_a_gpu(measure, tmp_path):
    path = tmp_path / 'masking.json'
    measure('--device', 'cuda', '--batch', 4, '--size', 64, '--turns', 2, '--out', path)
    rows = json.loads(path.read_text())['rows']
    assert len(rows) == 14 and not any(row['waits'] for row in rows)
