# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import csv
import json
import math
import runpy
from dataclasses import asdict
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

from mmmaskany.experiments.runs import Result

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / 'configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'
SCHEDULED = ROOT / 'configs/masking/easy-to-hard_maskany-resnet18-narrow_1xb32-coslr-8e_digits.py'


@pytest.fixture(scope='module')
def ablate():
    return runpy.run_path(str(ROOT / 'tools/analysis_tools/ablate_masks.py'))


@pytest.fixture
def quick(tiny_config):
    """A config of one epoch without workers; its masking is a bare pattern."""
    loader = dict(num_workers=0, persistent_workers=False)
    return tiny_config(train_cfg=dict(max_epochs=1), train_dataloader=loader, val_dataloader=loader)


def test_the_grid_has_true_shares(ablate):
    variants = ablate['grid'](['patch', 'grid'], [dict(scale=0.5), dict(scale=math.sqrt(0.1))], (32, 32))
    # A third of 8 cells are 3 of them, of 32 px 10: the true share is what is drawn, not the one asked for.
    shares = {
        'patch_scale0.5': 0.25,
        'grid_scale0.5': 0.25,
        'patch_scale0.3162': 100 / 1024,
        'grid_scale0.3162': 9 / 64,
    }
    assert {str(variant): variant.masked for variant in variants} == shares
    assert [str(variant) for variant in ablate['grid'](['random'], [dict(ratio=0.3)], (32, 32), cell=8)] == [
        'random_ratio0.3'
    ]
    with pytest.raises(ValueError, match='must mask at least one cell and leave one'):
        ablate['grid'](['grid'], [dict(scale=0.5), dict(scale=0.99)], (32, 32))


def test_only_the_pattern_changes(ablate, tmp_path):
    cfg = Config.fromfile(DIGITS)
    prob = ablate['masked_images'](ablate['read_masking'](cfg))
    assert prob == pytest.approx(0.4)
    pattern = dict(type='mmmaskany.GridPattern', scale=0.5, cell=4, base=1)
    variant = Config.fromfile(ablate['write_config'](cfg, tmp_path / 'variant.py', pattern, prob))
    masking = variant.model.backbone.pop('masking')
    assert masking.pattern == dict(type='mmmaskany.MixturePattern', patterns=[pattern], probs=[prob])
    whole = Config.fromfile(ablate['write_config'](cfg, tmp_path / 'whole.py', None, prob))
    assert whole.model.backbone.pop('masking') is None
    own = Config.fromfile(DIGITS)
    assert masking.fill == own.model.backbone.pop('masking').fill
    assert variant.to_dict() == whole.to_dict() == own.to_dict()
    every = Config.fromfile(ablate['write_config'](cfg, tmp_path / 'every.py', pattern, 1))
    assert every.model.backbone.masking.pattern == pattern
    assert cfg.model.backbone.masking.pattern.type == 'mmmaskany.MixturePattern'
    # The runs of one folder are of one config.
    ablate['write_config'](cfg, tmp_path / 'variant.py', pattern, prob)
    with pytest.raises(ValueError, match=r'variant.py must be what this command trains, but is another config'):
        ablate['write_config'](cfg, tmp_path / 'variant.py', pattern, 0.5)


def test_rows_and_curves(ablate, tmp_path):
    variants = ablate['grid'](['patch'], [dict(scale=0.5), dict(scale=0.75)], (32, 32))
    values = {'unmasked': (90, 92), 'patch_scale0.5': (95, 93), 'patch_scale0.75': (80, 84)}
    results = [
        Result('', variant, seed, 'x', [], {'accuracy/top1': value}, None, None)
        for variant, own in values.items()
        for seed, value in enumerate(own)
    ]
    rows = ablate['rows_of'](results, variants, 'accuracy/top1')
    nothing = dict(scale='', ratio='', cell='')
    assert rows[0] == {'pattern': 'unmasked', 'masked': 0, **nothing, 'seed': 0, 'top-1 (%)': 90}
    assert [(row['pattern'], row['masked'], row['scale'], row['seed']) for row in rows[2:4]] == [
        ('patch', 0.25, 0.5, 0),
        ('patch', 0.25, 0.5, 1),
    ]
    svg = ablate['draw'](rows, 'a title', tmp_path / 'plot')[1].read_text()
    for text in ('masked share of a masked image (%)', 'top-1 (%)', 'patch', 'unmasked', 'a title'):
        assert f'<!-- {text} -->' in svg


def test_what_cannot_be_ablated_is_refused(ablate, tmp_path, capsys):
    for config, message in (  # --prob is looked at last
        (str(DIGITS).replace('narrow_', 'narrow-unmasked_'), 'must mask in the model'),
        (str(DIGITS).replace('narrow_', 'narrow-pipeline_'), 'must mask in the model'),
        (str(SCHEDULED), 'has a MaskScheduleHook'),
        (str(DIGITS), r'--prob must be in (0, 1], but got 1.5'),
        ('nope.py', 'nope.py'),
    ):
        assert ablate['main']([str(tmp_path / 'runs'), config, '--prob', '1.5']) == 2
        error = capsys.readouterr().err
        assert 'error: ' in error and message in error
    aligned = ['--cfg-options', 'model.backbone.masking.reuse=aligned']
    assert ablate['main']([str(tmp_path / 'runs'), str(DIGITS), '--ratios', '0.25', '0.5', *aligned]) == 2
    assert 'needs a scale of 0.5, but got [0.5, 0.707' in capsys.readouterr().err
    assert not (tmp_path / 'runs').exists()


def test_a_killed_command_goes_on_and_draws(ablate, quick, tmp_path, capfd):
    out = tmp_path / 'runs'
    # The baseline was finished when the command was killed.
    finished = Result('', 'unmasked', 3, 'unmasked', ['randomness.seed=3'], {'accuracy/top1': 91.25}, None, None)
    (out / 'unmasked/seed3').mkdir(parents=True)
    (out / 'unmasked/seed3/run.json').write_text(json.dumps(dict(config=finished.config, options=finished.options)))
    (out / 'unmasked/seed3/result.json').write_text(json.dumps(asdict(finished)))
    command = [str(out), quick, '--patterns', 'random', '--ratios', '0.25', '--seeds', '3']
    command += ['--cfg-options', 'optim_wrapper.optimizer.lr=0.015']
    assert ablate['main'](command) == 0
    printed = capfd.readouterr().out
    assert printed.count('done in') == 1 and 'random_scale0.5 seed 3: done in' in printed
    with (out / 'ablation.csv').open() as file:
        baseline, random = csv.DictReader(file)
    assert [baseline[key] for key in ('pattern', 'masked', 'seed', 'top-1 (%)')] == ['unmasked', '0.0', '3', '91.25']
    assert [random[key] for key in ('pattern', 'masked', 'scale', 'cell')] == ['random', '0.25', '0.5', '2']
    trained = Config.fromfile(out / 'random_scale0.5/seed3/random_scale0.5.py')
    assert trained.optim_wrapper.optimizer.lr == 0.015
    assert trained.model.backbone.masking.pattern == dict(type='mmmaskany.RandomPattern', scale=0.5, cell=2, base=1)
    log = (out / 'random_scale0.5/seed3/train.log').read_text()
    assert f'accuracy/top1: {float(random["top-1 (%)"]):.4f}' in log and 'seed: 3\n' in log
    assert cv2.imread(str(out / 'ablation.png')).shape == (600, 960, 3)
    assert '100% of the training images masked, reused; seed 3' in (out / 'ablation.svg').read_text()

    assert ablate['main'](command) == 0
    assert 'done in' not in capfd.readouterr().out
    assert ablate['main']([*command, '--prob', '0.5']) == 2
    assert 'but is another config' in capfd.readouterr().err
