# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import csv
import json
from dataclasses import asdict

import cv2
import pytest
from mmengine.config import Config

from mmmaskany.experiments.runs import Result


def finish(work_dir, metric='accuracy/top1', **variants):
    """Write what finished runs with seeds 0 and 1 leave: ``finish(work_dir, plain=(70.0, 74.0))``."""
    for variant, values in variants.items():
        for seed, value in enumerate(values):
            result = Result('', variant, seed, variant, [f'randomness.seed={seed}'], {metric: value}, 0.1, None)
            folder = work_dir / variant / f'seed{seed}'
            folder.mkdir(parents=True)
            (folder / 'run.json').write_text(json.dumps(dict(config=variant, options=result.options)))
            (folder / 'result.json').write_text(json.dumps(asdict(result)))


@pytest.fixture
def finished(tiny_config, tmp_path):
    """Two configs whose runs with seeds 0 and 1 are finished: ``(work dir, configs)``."""
    work_dir, configs = tmp_path / 'runs', [tiny_config(name) for name in ('plain', 'masked')]
    finish(work_dir, plain=(70.0, 74.0), masked=(73.0, 79.0))
    return work_dir, configs


def test_finished_runs_become_a_table_a_plot_and_rows(tool, finished, capsys):
    work_dir, configs = finished
    command = [str(work_dir), '--seeds', '0', '1', '--configs', *configs]
    assert tool('analysis_tools/compare_methods')(command) == 0
    table = (work_dir / 'table.md').read_text()
    assert '| masked | 76.00 ± 4.24 | +4.00 ± 1.41 | 2 | 1.00 |' in table and table in capsys.readouterr().out
    with (work_dir / 'results.csv').open() as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [('plain', '0', '70.0'), ('masked', '0', '73.0'), ('plain', '1', '74.0'), ('masked', '1', '79.0')]
    assert cv2.imread(str(work_dir / 'accuracy-top1.png')).shape[1] == 1080
    assert '<!-- top-1 (%) -->' in (work_dir / 'accuracy-top1.svg').read_text()


@pytest.mark.parametrize(('scope', 'metric'), [('mmseg', 'mIoU'), ('mmdet', 'coco/bbox_mAP')])
def test_the_metric_is_that_of_the_library(scope, metric, tool, tiny_config, tmp_path):
    finish(tmp_path / 'runs', metric, plain=(0.5, 0.5))
    config = tiny_config('plain', default_scope=scope)
    assert tool('analysis_tools/compare_methods')([str(tmp_path / 'runs'), '--seeds', '0', '--configs', config]) == 0
    assert json.loads((tmp_path / 'runs' / 'results.json').read_text())[0]['metrics'] == {metric: 0.5}
    assert (tmp_path / 'runs' / f'{metric.replace("/", "-")}.svg').is_file()


def test_what_cannot_be_compared_is_refused(tool, finished, tiny_config, capsys):
    work_dir, configs = finished
    segmentor, other = (tiny_config(scope, default_scope=scope) for scope in ('mmseg', 'mmdet3d'))
    for arguments, message in (
        (['--configs', 'nope.py'], 'config nope.py must be a file, but is missing'),
        (['--configs', *configs, '--metric', 'mIoU'], 'of mmpretrain measure, such as accuracy/top1, but got'),
        (['--configs', configs[0], segmentor], 'configs must be of one library, but are of {'),
        (['--configs', other], '--metric must be given for configs of mmdet3d'),
        (['--configs', configs[0], configs[0]], 'group, variant and seed of a run must be its own'),
        ([configs[0]], 'one of the arguments --variants/--arms --configs is required'),
        (['--arms', 'plain'], 'CONFIG and --variants must be given together, or --configs alone'),
        ([configs[0], '--configs', configs[0]], 'CONFIG and --variants must be given together, or --configs alone'),
        ([configs[0], '--variants', 'plain', 'noresue'], 'a variant must be one of maskany, plain, unmasked, noreuse'),
        (['nope.py', '--variants', 'plain'], 'config nope.py must be a file, but is missing'),
    ):
        with pytest.raises(SystemExit):
            tool('analysis_tools/compare_methods')([str(work_dir), *arguments])
        assert message in capsys.readouterr().err
    assert not (work_dir / 'configs').exists()


def test_variants_of_one_config_are_trained(tool, tiny_config, tmp_path, capsys):
    work_dir, config = tmp_path / 'runs', tiny_config()
    finish(work_dir, plain=(70.0, 74.0), noreuse=(73.0, 79.0))
    command = [str(work_dir), config, '--variants', 'plain', 'noreuse', '--seeds', '0', '1']
    assert tool('analysis_tools/compare_methods')(command) == 0
    assert '| noreuse | 76.00 ± 4.24 | +4.00 ± 1.41 | 2 | 1.00 |' in capsys.readouterr().out
    own = Config.fromfile(config).model.backbone
    plain, noreuse = (Config.fromfile(work_dir / f'configs/{name}.py').model.backbone for name in ('plain', 'noreuse'))
    assert plain == own.backbone and noreuse.masking == dict(own.masking, reuse=False)
    # The same command has nothing more to do, and another config is not mixed with it.
    assert tool('analysis_tools/compare_methods')(command) == 0
    with pytest.raises(SystemExit):
        tool('analysis_tools/compare_methods')([command[0], tiny_config('other'), *command[2:]])
    assert 'plain.py must be what this command trains, but is another config' in capsys.readouterr().err
