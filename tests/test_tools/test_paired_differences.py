# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import runpy
from pathlib import Path

import numpy as np
import pytest

from mmmaskany.analysis.paired import holm, paired_difference

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def main():
    return runpy.run_path(str(ROOT / 'tools/analysis_tools/paired_differences.py'))['main']


@pytest.fixture
def folder(tmp_path):
    """40 images of two classes; three variants of two seeds that are right in other shares of them."""
    draw, truth = np.random.default_rng(0), np.arange(40) % 2
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/val.txt').write_text(
        ''.join(f'a folder/{index}.png {label}\n' for index, label in enumerate(truth))
    )
    right = {}
    for variant, share in (('plain', 0.5), ('maskany', 0.9), ('noreuse', 0.6)):
        for seed in (0, 1):
            right[variant, seed] = draw.random(40) < share
            (tmp_path / variant / f'seed{seed}').mkdir(parents=True)
            predicted = np.where(right[variant, seed], truth, 1 - truth)
            np.savez(tmp_path / variant / f'seed{seed}/measured.npz', predicted=predicted, score=predicted)
    return tmp_path, right


def test_the_table_is_that_of_the_functions(main, folder, capsys):
    path, right = folder

    def stacked(variant):
        return 100.0 * np.stack([right[variant, seed] for seed in (0, 1)])

    assert main([str(path), '--named', 'maskany:noreuse']) == 0
    lines = capsys.readouterr().out.splitlines()
    pairs = [('maskany', 'noreuse'), ('maskany', 'plain'), ('noreuse', 'plain')]
    differences = [paired_difference(stacked(one), stacked(other)) for one, other in pairs]
    chances = [differences[0].p, *holm([each.p for each in differences[1:]])]
    assert chances[1] > differences[1].p  # corrected; the one that was named is not
    for line, (variant, other), found, chance in zip(lines[2:5], pairs, differences, chances, strict=True):
        means = stacked(variant).mean(1)
        own = f'{means.mean():.2f} ± {means.std(ddof=1):.2f}'
        assert line == f'| {variant} | {own} | {other} | {found.mean:+.2f} ± {found.half:.2f} | {chance:.3f} |'
    assert main([str(path), '--also', 'maskany:noreuse']) == 0
    lines_of_all = capsys.readouterr().out.splitlines()
    chances = holm([differences[index].p for index in (1, 2, 0)])
    assert [line.split(' | ')[-1] for line in lines_of_all[2:5]] == [f'{chance:.3f} |' for chance in chances]
    assert lines[-1] == '± is a 95 % interval over 2 seeds and 40 images; 3 variants were looked at.'


def test_what_cannot_be_compared(main, folder, tmp_path, capsys):
    path, _ = folder
    for argv, message in (
        ([str(tmp_path / 'nowhere')], 'must be what mmmaskany finetune wrote'),
        ([str(path), '--named', 'maskany'], 'comparisons must be pairs such as maskany:plain, but got maskany'),
        ([str(path), '--named', 'aligned:plain'], 'variants must be of maskany, noreuse, plain, but got aligned'),
    ):
        assert main(argv) == 2
        assert message in capsys.readouterr().err
    (path / 'noreuse/seed1/measured.npz').unlink()
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert '| maskany |' in out and 'Not compared, for want of two seeds that plain has, too: noreuse.' in out
    assert main([str(path), '--named', 'noreuse:plain']) == 2
    assert 'noreuse and plain must have two seeds in common, but have [0]' in capsys.readouterr().err
    (path / 'plain').rename(path / 'other')
    (path / 'noreuse').rename(path / 'away')
    for name in ('away', 'other'):
        [file.rename(file.with_suffix('.old')) for file in (path / name).glob('*/*.npz')]
    assert main([str(path)]) == 2
    assert 'must be two variants to compare, one of them plain or --named, but got maskany' in capsys.readouterr().err
    for name in ('away', 'other'):
        [file.rename(file.with_suffix('.npz')) for file in (path / name).glob('*/*.old')]
    (path / 'other').rename(path / 'plain')
    np.savez(path / 'plain/seed0/measured.npz', predicted=np.zeros((40, 32, 32)))
    assert main([str(path)]) == 2
    assert 'must hold one class for each of 40 images' in capsys.readouterr().err
    for file in path.glob('*/*/measured.npz'):
        file.unlink()
    assert main([str(path)]) == 2
    assert 'must have runs that were measured' in capsys.readouterr().err
