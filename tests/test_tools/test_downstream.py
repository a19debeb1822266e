# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""tools/benchmarks/downstream.py: its suites, its checks and tiny real fine-tunings, here and under slurm."""

import json
import os
import re
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

PLAIN = dict(type='mmpretrain.ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=(0, 1, 2, 3))
BACKBONES = {
    'plain': PLAIN,
    'maskany': dict(type='mmmaskany.MaskAny', backbone=PLAIN),
    'maskresnet': dict(PLAIN, type='mmmaskany.MaskResNet'),
}
INIT = dict(type='Pretrained', checkpoint='to_be_given.pth', prefix='backbone.')


@pytest.fixture(scope='module')
def downstream(tool):
    main = tool('benchmarks/downstream')
    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Checkpoints of classifiers with the three kinds of backbone, and one that is deeper."""
    init_default_scope('mmpretrain')
    folder = tmp_path_factory.mktemp('checkpoints')
    paths = {}
    for name, cfg in {**BACKBONES, 'deeper': dict(PLAIN, depth=34)}.items():
        torch.manual_seed(0)
        paths[name] = folder / f'{name}.pth'
        weights = {f'backbone.{key}': value for key, value in MODELS.build(cfg).state_dict().items()}
        torch.save(dict(state_dict=weights, meta={}), paths[name])
    return paths


@pytest.fixture
def detection_configs(write_library_config, tmp_path):
    pytest.importorskip('mmdet')

    def config(kind):
        return write_library_config(
            tmp_path,
            'mmdet',
            f'retinanet_{dict(plain="r18", maskany="maskany-r18")[kind]}_squares',
            model=dict(
                backbone=dict(BACKBONES[kind], _delete_=True, init_cfg=INIT),
                test_cfg=dict(score_thr=0.0),  # something is found before anything is learned
            ),
            train_cfg=dict(max_epochs=1),
            train_dataloader=dict(num_workers=0),
            val_dataloader=dict(num_workers=0),
            auto_scale_lr=dict(base_batch_size=4),
        )

    return {kind: config(kind) for kind in ('plain', 'maskany')}


def test_detectors_from_two_checkpoints(downstream, checkpoints, detection_configs, tmp_path, capsys):
    arguments = ('detection', f'scratch={checkpoints["plain"]}', checkpoints['maskany'])
    options = ('--configs', *detection_configs.values(), '--work-dir', tmp_path / 'runs', '--jobs', 2)
    assert downstream(*arguments, *options) == 0
    assert 'retinanet_squares maskany seed 0: done in' in capsys.readouterr().out
    lines = (tmp_path / 'runs' / 'table.md').read_text().splitlines()
    assert lines[0] == '| group | run | box AP (%) | against the first | seeds | step time against the first |'
    for line, name in zip(lines[2:], ('scratch', 'maskany'), strict=True):
        assert re.match(rf'\| retinanet_squares \| {name} \| \d+\.\d\d \| ', line)
    for name, kind in (('scratch', 'plain'), ('maskany', 'maskany')):
        (config,) = (tmp_path / 'runs' / 'retinanet_squares' / name).glob('seed0/*/vis_data/config.py')
        cfg = Config.fromfile(config)
        assert cfg.model.backbone.init_cfg.checkpoint == str(checkpoints[kind])
        assert cfg.auto_scale_lr.enable
    log = (tmp_path / 'runs' / 'retinanet_squares' / 'maskany' / 'seed0' / 'train.log').read_text()
    weights = torch.load(checkpoints['maskany'])['state_dict']
    count = sum(not name.endswith(('num_batches_tracked', '_extra_state')) for name in weights)
    assert f'the checkpoint fills all {count} tensors of the backbone' in log

    # Again: nothing is trained, the table stands.
    before = os.stat(tmp_path / 'runs' / 'retinanet_squares' / 'maskany' / 'seed0' / 'train.log').st_mtime_ns
    assert downstream(*arguments, *options) == 0
    after = os.stat(tmp_path / 'runs' / 'retinanet_squares' / 'maskany' / 'seed0' / 'train.log').st_mtime_ns
    assert after == before
    assert (tmp_path / 'runs' / 'table.md').read_text().splitlines() == lines


SRUN = """#!/bin/sh
# One node: starts the tasks that it is asked for, as slurm names them.
for argument; do
    case "$argument" in
        --ntasks=*) tasks="${argument#*=}" ;;
        --*) ;;
        *) break ;;
    esac
    echo "srun $argument"
    shift
done
SLURM_NTASKS="$tasks" SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODELIST=here exec "$@"
"""


def test_a_segmentor_under_slurm(downstream, checkpoints, write_library_config, tmp_path, monkeypatch, capsys):
    pytest.importorskip('mmseg')
    for name, content in (('srun', SRUN), ('scontrol', '#!/bin/sh\necho 127.0.0.1\n')):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    config = write_library_config(
        tmp_path,
        'mmseg',
        'maskresnet18_fcn_squares',
        model=dict(backbone=dict(BACKBONES['maskresnet'], _delete_=True, init_cfg=INIT)),
        train_cfg=dict(max_iters=2, val_interval=2),
        train_dataloader=dict(num_workers=0),
        val_dataloader=dict(num_workers=0),
    )
    arguments = ('segmentation', checkpoints['maskresnet'], '--configs', config, '--work-dir', tmp_path / 'runs')
    assert downstream(*arguments, '--slurm', 'part') == 0
    (result,) = json.loads((tmp_path / 'runs' / 'results.json').read_text())
    assert (result['group'], result['variant']) == ('fcn_squares', 'maskresnet')
    log = (tmp_path / 'runs' / 'fcn_squares' / 'maskresnet' / 'seed0' / 'train.log').read_text()
    assert 'srun --partition=part' in log and 'srun --job-name=fcn_squares-maskresnet-seed-0' in log
    assert f'mIoU: {result["metrics"]["mIoU"]:.4f}' in log
    assert f'| fcn_squares | maskresnet | {result["metrics"]["mIoU"]:.2f} |' in capsys.readouterr().out


def test_a_plain_checkpoint_is_adopted_on_request(downstream, checkpoints, detection_configs, tmp_path, capsys):
    configs = ('--configs', detection_configs['maskany'], '--work-dir', tmp_path / 'runs')
    with pytest.raises(SystemExit):
        downstream('detection', checkpoints['plain'], *configs)
    assert 'the backbone of' in (error := capsys.readouterr().err)
    assert "plain, but there are only ['maskany']; --backbone names another" in error
    options = ('--cfg-options', 'train_dataloader.dataset.data_root=/nowhere')  # the checks are what is tested
    assert downstream('detection', checkpoints['plain'], '--backbone', 'maskany', *configs, *options) == 1
    error = capsys.readouterr().err
    assert 'error: retinanet_squares plain seed 0 failed with exit code 2' in error and '/nowhere must exist' in error


def test_checkpoints_are_checked_before_anything_starts(downstream, checkpoints, detection_configs, tmp_path, capsys):
    (tmp_path / 'text.pth').write_text('no checkpoint')
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / 'foreign.pth')
    for arguments, message in {
        ('none.pth',): 'checkpoint must be an existing file, but got none.pth',
        (tmp_path / 'text.pth',): 'text.pth must be a complete PyTorch file',
        (tmp_path / 'foreign.pth',): "must hold the tensors of a 'backbone.', but has",
        (checkpoints['plain'], checkpoints['plain']): 'checkpoints must have names of their own',
        (checkpoints['deeper'],): 'retinanet_r18_squares.py: it must fill all 100 tensors of ResNet, but',
        (checkpoints['maskresnet'], '--backbone', 'maskany'): 'does not fit the backbone MaskAnyResNet',
        (checkpoints['plain'], '--backbone', 'plain', 'maskany'): 'one for each checkpoint, but got',
        (checkpoints['plain'], '--jobs', 0): 'jobs must be at least 1, but got 0',
    }.items():
        with pytest.raises(SystemExit):
            downstream(
                'detection', *arguments, '--configs', *detection_configs.values(), '--work-dir', tmp_path / 'runs'
            )
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(('task', 'count'), [('detection', 5), ('segmentation', 4)])
def test_suites(task, count):
    """Every method has one config of each kind of backbone; MaskResNet's of one is the promised entry."""
    script = runpy.run_path(str(Path(__file__).resolve().parents[2] / 'tools' / 'benchmarks' / 'downstream.py'))
    configs = script['suite_configs'](task)
    kinds = {}
    for config in configs:
        kinds.setdefault(script['method'](config), []).append(script['backbone_of'](Config.fromfile(config)))
    assert len(kinds) == count
    assert all(sorted(found) == ['maskany', 'maskresnet', 'plain'] for found in kinds.values()), kinds
    entry = dict(detection='maskany_r50_mask-rcnn_coco', segmentation='maskany_r50_upernet_ade20k')[task]
    assert entry in [config.stem for config in configs]
