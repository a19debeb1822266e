# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'


@pytest.fixture(scope='module')
def run_table():
    return runpy.run_path(str(ROOT / 'tools/analysis_tools/run_table.py'))


@pytest.fixture
def run(tmp_path):
    """Make a work dir with what a run leaves there: its config, its log and its test metrics."""
    folder = tmp_path / 'run'
    vis_data = folder / '20260101_000000/vis_data'
    vis_data.mkdir(parents=True)
    Config.fromfile(CONFIG).dump(vis_data / 'config.py')
    records = [
        {'lr': 0.1, 'time': 0.5, 'loss': 1.0, 'step': 46},
        {'accuracy/top1': 90.0, 'time': 9.0, 'step': 1},
        {'lr': 0.1, 'time': 0.25, 'loss': 0.5, 'step': 92},
        {'accuracy/top1': 98.0, 'time': 9.0, 'step': 2},
    ]
    (vis_data / 'scalars.json').write_text(''.join(f'{json.dumps(record)}\n' for record in records))
    (folder / 'test.json').write_text(json.dumps({'accuracy/top1': 98.5, 'accuracy/top5': 100.0}))
    return folder


def test_table_is_made_of_the_runs_own_files(run_table, run, capsys):
    out = run / 'table.md'
    assert run_table['main']([f'MaskAny={run}', '--at-least', 'MaskAny=98.5', '--out', str(out)]) == 0
    expected = (
        '| run     | task           | metric    | value | parameters | training |\n'
        '| ------- | -------------- | --------- | ----: | ---------: | -------: |\n'
        '| MaskAny | classification | top-1 (%) | 98.50 |    0.702 M |     34 s |\n'  # 46 * (0.5 + 0.25) = 34.5
    )
    assert capsys.readouterr().out == out.read_text() == expected


def test_table_sums_a_resumed_run(run_table, run):
    again = run / '20260101_000001/vis_data'
    again.mkdir(parents=True)
    records = [{'lr': 0.1, 'time': 1.0, 'step': 138}, {'lr': 0.1, 'time': 1.0, 'step': 184}]
    (again / 'scalars.json').write_text(''.join(f'{json.dumps(record)}\n' for record in records))
    logs = sorted(run.glob('*/vis_data/scalars.json'))
    assert run_table['training_seconds'](logs) == pytest.approx(34.5 + 92)


def test_table_has_a_row_for_each_task(run_table, run, capsys):
    (run / 'test.json').write_text('{"coco/bbox_mAP": 0.5, "coco/bbox_mAP_50": 0.9, "coco/segm_mAP": 0.25}')
    arguments = [f'detector={run}', f'again={run}', '--at-least', 'detector=25']
    assert run_table['main'](arguments) == 0
    rows = [[cell.strip() for cell in line.split('|')[1:5]] for line in capsys.readouterr().out.splitlines()[2:]]
    tasks = [['detection', 'box AP (%)', '50.00'], ['instance segmentation', 'mask AP (%)', '25.00']]
    assert rows == [[name, *task] for name in ('detector', 'again') for task in tasks]
    assert run_table['main']([*arguments[:-1], 'detector=26']) == 1
    assert 'detector must reach at least 26 in mask AP (%), but got 25.00' in capsys.readouterr().err


def test_table_is_loud(run_table, run, capsys):
    assert run_table['main']([f'MaskAny={run}', '--at-least', 'MaskAny=99']) == 1
    assert 'MaskAny must reach at least 99 in top-1 (%), but got 98.50' in capsys.readouterr().err
    (run / 'test.json').write_text('{"accuracy/top1": NaN}')
    assert run_table['main']([f'MaskAny={run}', '--at-least', 'MaskAny=97']) == 1
    (run / 'test.json').write_text('{"loss": 1}')
    assert run_table['main']([f'MaskAny={run}']) == 2
    known = ['accuracy/top1', 'coco/bbox_mAP', 'coco/segm_mAP', 'mIoU']
    assert f"must hold one of {known}, but holds ['loss']" in capsys.readouterr().err
    (run / 'test.json').unlink()
    assert run_table['main']([f'MaskAny={run}']) == 2
    assert 'must have been tested' in capsys.readouterr().err


def quickstart(folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Run the script in a copy of the repository's tools, with this interpreter and no install."""
    env = dict(os.environ, PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}', PYTHONPATH=str(ROOT))
    command = ['bash', 'tools/quickstart.sh', *options]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    return tmp_path


def test_quickstart_explains_its_options(copy):
    done = quickstart(copy, '--help')
    assert done.returncode == 0 and 'bash tools/quickstart.sh' in done.stdout
    done = quickstart(copy, '--fast')
    assert done.returncode == 1 and 'unknown option --fast' in done.stderr


def test_quickstart_shows_why_a_step_failed(copy):
    """A broken training is not silent: the end of its log is shown and the script fails."""
    (copy / 'tools/train.py').write_text(
        "print('\\n'.join(f'line {i}' for i in range(40)))\nraise SystemExit('out of luck')\n"
    )
    done = quickstart(copy, '--no-install')
    assert done.returncode == 1
    assert 'wrote 1442 train, 355 val images' in done.stdout
    assert 'line 39' in done.stderr and 'out of luck' in done.stderr and 'line 10\n' not in done.stderr
    assert "the step 'plain' failed" in done.stderr
    assert (copy / 'work_dirs/quickstart/plain.log').read_text().startswith('line 0\n')
