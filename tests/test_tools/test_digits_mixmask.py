# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import runpy
from pathlib import Path

import pytest

from mmmaskany.experiments.runs import Result

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def script():
    return runpy.run_path(str(ROOT / 'tools/benchmarks/digits_mixmask.py'))


@pytest.mark.parametrize('twins', [False, True])
def test_every_pretraining_is_probed_from_its_own_checkpoint(script, twins, tmp_path):
    first = script['pretraining'](['mocov2', 'simsiam'], [0, 1], twins)
    variants = ['mocov2', 'mixmask-mocov2', 'simsiam', 'mixmask-simsiam']
    assert [run.variant for run in first if run.seed == 0] == [
        variant for variant in variants if twins or 'mix' in variant
    ]
    for run in first:
        assert not run.validates
        (tmp_path / run.folder).mkdir(parents=True)
        (tmp_path / run.folder / 'last_checkpoint').write_text('/moved/since/epoch_15.pth')
    runs = script['probes'](first, tmp_path)
    assert len(runs) == len(first) + 2 and len({run.folder for run in runs}) == len(runs)
    assert all(run.config.is_file() for run in [*first, *runs])
    for run in runs:
        if run.variant == 'random weights':
            assert '_scratch_' in run.config.name and not run.options
        else:
            assert f'_{run.variant}-pre_' in run.config.name
            checkpoint = tmp_path / 'pre-training' / run.variant / f'seed{run.seed}' / 'epoch_15.pth'
            assert run.options == [f'model.backbone.init_cfg.checkpoint={checkpoint}']


@pytest.mark.parametrize(('scratch', 'worth'), [((60.0, 70.0), True), ((60.0, 85.0), False)])
def test_verdict(script, scratch, worth):
    values = {'mocov2': (88.0, 86.0), 'mixmask-mocov2': (90.0, 85.0), 'random weights': scratch}
    results = [
        Result('linear probe', variant, seed, '', [], {'accuracy/top1': value}, None, None)
        for variant, pair in values.items()
        for seed, value in enumerate(pair)
    ]
    line, gains = script['verdict'](results, 'mixmask-mocov2')
    assert gains is worth
    gain = 87.5 - sum(scratch) / 2
    assert line == (
        f'mixmask-mocov2: {gain:+.2f} points over random weights, least {85 - scratch[1]:+.2f}; '
        '+0.50 against the framework alone, -1.00 to +2.00 (2 seeds)'
    )
    line, _ = script['verdict']([run for run in results if run.seed == 0 and run.variant != 'mocov2'], 'mixmask-mocov2')
    assert line.endswith('over random weights, least +30.00 (1 seed)')


def test_bad_input(script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        script['main']([str(tmp_path), '--frameworks', 'byol'])
    assert "invalid choice: 'byol'" in capsys.readouterr().err
    assert script['main']([str(tmp_path), '--jobs', '0']) == 2
    assert 'error: jobs must be at least 1' in capsys.readouterr().err
