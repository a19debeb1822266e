# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import runpy
from pathlib import Path

import pytest

from mmmaskany.experiments.runs import Result

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def script():
    return runpy.run_path(str(ROOT / 'tools/benchmarks/digits_transfer.py'))


def test_every_network_is_trained_from_its_own_classifier_and_from_scratch(script, tmp_path):
    classifiers = script['pretraining']([0, 1])
    assert [(run.variant, run.seed) for run in classifiers] == [
        ('plain', 0),
        ('MaskAny', 0),
        ('plain', 1),
        ('MaskAny', 1),
    ]
    for run in classifiers:
        (tmp_path / run.folder).mkdir(parents=True)
        (tmp_path / run.folder / 'last_checkpoint').write_text('/moved/since/epoch_8.pth')
    runs = script['finetuning']([0, 1], tmp_path)
    assert len(runs) == 16 and len({run.folder for run in runs}) == 16
    assert all(run.config.is_file() for run in [*classifiers, *runs])
    for run in runs:
        assert ('maskany-' in run.config.name) is run.variant.startswith('MaskAny')
        if run.variant.endswith('-scratch'):
            assert '-scratch_' in run.config.name and not run.options
        else:
            checkpoint = tmp_path / 'classification' / run.variant / f'seed{run.seed}' / 'epoch_8.pth'
            assert run.options == [f'model.backbone.init_cfg.checkpoint={checkpoint}']


@pytest.mark.parametrize(('scratch', 'worth'), [((0.1, 0.3), True), ((0.3, 0.5), False)])
def test_verdict(script, scratch, worth):
    values = {'plain': (0.6, 0.8), 'MaskAny': (0.5, 0.5), 'MaskAny-scratch': scratch}
    results = [
        Result('detection', variant, seed, '', [], {'coco/bbox_mAP': value}, None, None)
        for variant, pair in values.items()
        for seed, value in enumerate(pair)
    ]
    line, gains = script['verdict'](results, 'detection', 'coco/bbox_mAP')
    assert gains is worth
    mean = 50 - 50 * sum(scratch)
    assert line == (  # both the gains and the values from scratch are 20 apart
        f"detection, box AP (%): MaskAny's checkpoint gives {mean:+.2f} over scratch (spread 14.14), and "
        '-20.00 ± 14.14 against the plain network from the plain checkpoint'
    )


def test_one_seed_has_no_spread(script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        script['main']([str(tmp_path), '--seeds', '0'])
    assert '--seeds must be at least two different ones' in capsys.readouterr().err
