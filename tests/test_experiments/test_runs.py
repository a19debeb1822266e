# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from mmmaskany.experiments.runs import Launch, Result, Run, plot, read_result, table, train, train_all


def write_log(folder, *records, start='1'):
    path = folder / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))


def step(time, **more):
    return dict(lr=0.1, loss=1.0, time=time, data_time=0.25, step=1, **more)


def result(variant, seed, step=None, group='', **metrics):
    metrics = {key.replace('__', '/'): value for key, value in metrics.items()}
    return Result(group, variant, seed, 'config', [], metrics, step, None)


# ---------------------------------------------------------------------- reading


def test_the_last_validation_counts_not_the_best(tmp_path):
    run = Run('a', tmp_path / 'a.py', seed=3, options=['x=1'])
    validation = dict(time=9.0, data_time=8.0)
    write_log(tmp_path, step(5.0, memory=7), {'mIoU': 60.0, 'mAcc': 1.0, 'step': 4, **validation})
    write_log(tmp_path, step(1.0), step(2.0, memory=6), {'mIoU': 50.0, 'step': 8, **validation}, start='2')
    expected = Result('', 'a', 3, 'a', ['randomness.seed=3', 'x=1'], {'mIoU': 50.0}, 1.75, 7)
    assert read_result(run, tmp_path) == expected


def test_a_log_without_a_last_validation_is_refused(tmp_path):
    run = Run('a', tmp_path / 'a.py')
    with pytest.raises(ValueError, match='a seed 0 must end with a validation'):
        read_result(run, tmp_path)
    write_log(tmp_path, dict(mIoU=60.0, step=4), step(1.0))
    with pytest.raises(ValueError, match='a seed 0 must end with a validation'):
        read_result(run, tmp_path)


def test_a_run_that_only_pretrains_gives_no_metrics(tmp_path):
    run = Run('a', tmp_path / 'a.py', validates=False)
    assert read_result(run, tmp_path).step is None
    write_log(tmp_path, step(1.0), step(2.0))
    assert read_result(run, tmp_path) == Result('', 'a', 0, 'a', ['randomness.seed=0'], {}, 1.25, None)
    (tmp_path / run.folder).mkdir(parents=True)
    (tmp_path / run.folder / 'last_checkpoint').write_text('/moved/since/epoch_3.pth\n')
    assert run.checkpoint(tmp_path) == tmp_path / 'a/seed0/epoch_3.pth'


# ---------------------------------------------------------------------- the table


def rows(text):
    return [[cell.strip() for cell in line.strip('|\n').split('|')] for line in text.splitlines()]


def test_table_by_hand():
    runs = [Run(variant, 'x.py', seed) for seed in (0, 1, 2) for variant in ('plain', 'MaskAny', 'late')]
    results = [
        result('plain', 0, step=0.2, coco__bbox_mAP=0.30, coco__segm_mAP=0.25),
        result('plain', 1, step=0.4, coco__bbox_mAP=0.32, coco__segm_mAP=0.25),
        result('MaskAny', 0, step=0.6, coco__bbox_mAP=0.31),
        result('MaskAny', 1, step=0.6, coco__bbox_mAP=0.35),
        result('MaskAny', 2, step=0.6, coco__bbox_mAP=0.36),  # no seed 2 of the first to compare with
    ]
    text = rows(table(runs, results, ['coco/bbox_mAP', 'coco/segm_mAP', 'mIoU']))
    assert text[0] == [
        *('run', 'box AP (%)', 'against the first', 'mask AP (%)', 'against the first'),
        *('seeds', 'step time against the first'),
    ]
    assert text[2] == ['plain', '31.00 ± 1.41', '', '25.00 ± 0.00', '', '2', '1.00']
    assert text[3] == ['MaskAny', '34.00 ± 2.65', '+2.00 ± 1.41', '', '', '3', '2.00']
    assert text[4] == ['late', '', '', '', '', '0', '']  # not finished


def test_each_group_has_its_own_baseline():
    runs = [Run(variant, 'x.py', group=group) for group in ('fcn', 'upernet') for variant in ('plain', 'MaskAny')]
    values = [40.0, 39.5, 42.0, 44.0]
    results = [result(run.variant, 0, group=run.group, mIoU=value) for run, value in zip(runs, values, strict=True)]
    text = rows(table(runs, results, ['mIoU']))
    assert text[0][:4] == ['group', 'run', 'mIoU (%)', 'against the first']
    assert [row[:4] for row in text[2:]] == [
        ['fcn', 'plain', '40.00', ''],
        ['fcn', 'MaskAny', '39.50', '-0.50'],
        ['upernet', 'plain', '42.00', ''],
        ['upernet', 'MaskAny', '44.00', '+2.00'],
    ]
    # Where the first variant failed nothing else takes its place.
    assert [row[3] for row in rows(table(runs, results[1:], ['mIoU']))[2:]] == ['', '', '', '+2.00']


def test_memory_has_a_column_where_a_gpu_was_used():
    runs = [Run(variant, 'x.py') for variant in ('plain', 'MaskAny', 'late')]
    results = [replace(result('plain', 0, mIoU=1.0), memory=900), replace(result('MaskAny', 0, mIoU=2.0), memory=950)]
    text = rows(table(runs, results, ['mIoU']))
    assert [row[-1] for row in text] == ['peak memory (MiB)', '---:', '900', '950', '']


# ---------------------------------------------------------------------- the plot


def test_plot_by_hand():
    variants = ['resnet18_8e_digits', 'maskany_resnet18_8e_digits', 'late_resnet18_8e_digits']
    runs = [Run(variant, 'x.py', seed) for variant in variants for seed in (0, 1)]
    results = [result(variants[0], 0, mIoU=40.0), result(variants[0], 1, mIoU=44.0), result(variants[1], 1, mIoU=45.0)]
    axes = plot(runs, results, 'mIoU').axes[0]
    assert axes.get_xlabel() == 'mIoU (%)'
    # What all names end in says nothing; a variant without a result has no row.
    assert [label.get_text() for label in axes.get_yticklabels()] == ['resnet18', 'maskany_resnet18']
    assert [points.get_offsets()[:, 0].tolist() for points in axes.collections] == [[40, 44], [42], [45], [45]]
    assert [float(x) for x in axes.lines[0].get_xdata()] == [42, 42]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ['resnet18, ± one deviation', 'resnet18, mean', 'a seed', 'mean of the seeds']


def test_one_variant_keeps_its_name():
    figure = plot([Run('resnet18_digits', 'x.py')], [result('resnet18_digits', 0, mIoU=40.0)], 'mIoU')
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ['resnet18_digits']
    with pytest.raises(ValueError, match='every variant must have a value to be drawn, but got {}'):
        plot([Run('a', 'x.py')], [], 'mIoU')


# ---------------------------------------------------------------------- launching


def test_names_must_be_folders():
    for name in ('a/b', '', '..'):
        with pytest.raises(ValueError, match=f"must be names of folders, but got '{name}'"):
            Run(name, 'x.py')
    with pytest.raises(ValueError, match='must be names of folders'):
        Run('a', 'x.py', group='a/b')
    with pytest.raises(ValueError, match='jobs must be at least 1, but got 0'):
        Launch(jobs=0)


def test_commands(tmp_path, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,6')
    # A machine of 64 cores, of which a cpuset gives this process eight.
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv('GPUS_PER_NODE', raising=False)
    monkeypatch.delenv('OMP_WAIT_POLICY', raising=False)
    run = Run('a', 'x.py', 2, options=['m.checkpoint=c.pth'], env={'HF': '1'}, group='g')
    tail = ['--resume', 'auto', '--cfg-options', 'randomness.seed=2', 'm.checkpoint=c.pth']

    command, env = Launch(jobs=2).command(run, tmp_path, slot=1)
    assert command[:1] == [sys.executable] and command[1].endswith('tools/train.py')
    assert command[2:] == ['x.py', '--work-dir', str(tmp_path), *tail]
    assert (env['CUDA_VISIBLE_DEVICES'], env['OMP_NUM_THREADS'], env['HF']) == ('5', '4', '1')
    assert env['OMP_WAIT_POLICY'] == 'passive'

    command, env = Launch(gpus=2, jobs=2).command(run, tmp_path, slot=1)
    assert command[0].endswith('tools/dist_train.sh')
    assert command[1:] == ['x.py', '2', '--work-dir', str(tmp_path), *tail]
    assert (env['CUDA_VISIBLE_DEVICES'], env['OMP_NUM_THREADS']) == ('6,4', '2')
    assert env['PYTHON'] == sys.executable and int(env['PORT']) > 1000

    command, env = Launch(gpus=16, partition='part').command(run, tmp_path, slot=1)
    assert command[0].endswith('tools/slurm_train.sh')
    assert command[1:] == ['part', 'g-a-seed-2', 'x.py', str(tmp_path), *tail]
    assert (env['GPUS'], env['GPUS_PER_NODE'], env['CUDA_VISIBLE_DEVICES']) == ('16', '8', '4,5,6')

    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')
    assert Launch().command(run, tmp_path)[1]['CUDA_VISIBLE_DEVICES'] == '-1'


def test_importing_imports_none_of_openmmlabs_libraries():
    code = 'import sys; import mmmaskany.experiments.runs, mmmaskany.hub, mmmaskany.inference.samples; '
    code += 'print(*{"mmcv", "mmdet", "mmpretrain", "mmseg"}.intersection(sys.modules))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == '\n'


# ---------------------------------------------------------------------- trainings


@pytest.fixture(scope='module')
def config(write_config, tmp_path_factory):
    quick = dict(num_workers=0, persistent_workers=False)
    changes = dict(train_cfg=dict(max_epochs=1), train_dataloader=quick, val_dataloader=quick)
    return write_config(tmp_path_factory.mktemp('configs'), **changes)


def test_runs_fail_finish_and_go_on(config, tmp_path, capfd):
    run = Run('good', config, seed=2)
    broken = Run('broken', config, options=['train_dataloader.dataset.data_root=/nowhere'])
    results, failures = train_all([broken, run], tmp_path, ['accuracy/top1'], Launch(jobs=2))
    (result,), (failure,) = results, failures
    assert (result.variant, result.seed, result.config) == ('good', 2, 'tiny')
    assert 'broken seed 0 failed with exit code 2' in failure and '/nowhere must exist' in failure
    assert 'broken seed 0: FAILED' in capfd.readouterr().out
    accuracy = result.metrics['accuracy/top1']
    log = (tmp_path / 'good' / 'seed2' / 'train.log').read_text()
    assert f'accuracy/top1: {accuracy:.4f}' in log and 'seed: 2\n' in log
    assert result.step > 0 and result.memory is None
    written = rows((tmp_path / 'table.md').read_text())
    assert [row[:4] for row in written[2:]] == [['broken', '', '', '0'], ['good', f'{accuracy:.2f}', '', '1']]

    # A finished run is not repeated, and not passed off as one of other options.
    assert train_all([run], tmp_path, ['accuracy/top1']) == (results, [])
    with pytest.raises(ValueError, match=r"must hold .*'x=1'.*, but holds .*'randomness.seed=2'\]"):
        train(replace(run, options=['x=1']), tmp_path)
    # A metric that is not there is named.
    _, failures = train_all([run], tmp_path, ['mIoU'])
    assert failures == ["good seed 2 must give ['mIoU'], but its last validation gave ['accuracy/top1']"]

    # Results of before variants were called so are read.
    stored = tmp_path / run.folder / 'result.json'
    stored.write_text(stored.read_text().replace('"variant":', '"arm":'))
    assert train_all([run], tmp_path, ['accuracy/top1']) == (results, [])

    # An interrupted run goes on, here between its last checkpoint and its result, with two processes.
    folder = tmp_path / run.folder
    (folder / 'result.json').unlink()
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match=f'{folder} must not be in use, but another process trains there'):
            train(run, tmp_path)
    assert train(run, tmp_path, Launch(gpus=2)).metrics == result.metrics
    log = (folder / 'train.log').read_text()
    assert 'the processes talk through gloo' in log
    assert 'resumed epoch: 1, iter: 6' in log


def test_what_was_trained_by_an_edited_config_is_not_taken_for_another(tmp_path):
    base, config = tmp_path / 'base.py', tmp_path / 'a.py'
    run = Run('a', config)

    def training_that_dies(*_):
        return 1

    def training_that_is_killed(*_):
        (tmp_path / run.folder / 'last_checkpoint').write_text('epoch_1.pth')
        return -9

    def texts(of_base, of_config, start):
        base.write_text(of_base)
        config.write_text(of_config)
        train(run, tmp_path, start=start)

    own = "_base_ = ['./base.py', './a.py']\nx = dict(y=1)\n"
    for text in ('x = (', 'import os\nos.abort()', own):  # nothing was trained yet, so it may be mended; nothing is run
        with pytest.raises(RuntimeError, match='exit code 1'):
            texts('z = 1\n', text, training_that_dies)
    for of_base in ('z = 1\n', 'z  =  1  # of somebody\n'):
        with pytest.raises(RuntimeError, match='exit code -9'):
            texts(of_base, own, training_that_is_killed)
    for name, *edited in (('base.py', 'z = 2\n', own), ('a.py', 'z = 1\n', own.replace('y=1', 'y=2'))):
        with pytest.raises(ValueError, match=f'was begun by another {name}, .*: undo what was edited there, or delete'):
            texts(*edited, training_that_is_killed)
        with pytest.raises(ValueError, match=f'was begun by another {name}'):  # before a table is written
            train_all([run], tmp_path, [])
        assert not (tmp_path / 'table.md').exists()
    with pytest.raises(RuntimeError, match='exit code -9'):
        texts('z = 1\n', own, training_that_is_killed)


def test_lists_that_cannot_be_trained(config, tmp_path):
    with pytest.raises(FileNotFoundError, match='configs must be existing files, but there is no nope.py'):
        train_all([Run('a', 'nope.py')], tmp_path, [])
    with pytest.raises(ValueError, match=r"these are given twice: \['a/seed0'\]"):
        train_all([Run('a', config), Run('a', config)], tmp_path, [])
