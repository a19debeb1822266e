# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The benchmarks of whole steps: of classifiers with two stems, and of configs of the libraries."""

import argparse
import json
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmmaskany.experiments.timing import Work, take_turns, turns_table

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
PLAIN = dict(type='mmpretrain.ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=(0, 1, 2, 3))


def check(rows, names):
    assert [row['name'] for row in rows] == names
    for row in rows:
        assert 0 < row['fastest'] <= row['ms'] and row['ratios'][0] <= row['ratio'] <= row['ratios'][1]
        assert row['memory'] > row['parameters'] * 4 / 2**20
    assert rows[0]['ratio'] == rows[0]['fastest_ratio'] == rows[0]['memory_ratio'] == 1
    assert rows[1]['memory_ratio'] == rows[1]['memory'] / rows[0]['memory']


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_two_configs(library, write_library_config, tool, tmp_path, capsys):
    pytest.importorskip(library)
    changes = dict(model=dict(backbone=dict(PLAIN, _delete_=True)))
    configs = [
        write_library_config(tmp_path, library, 'plain', **changes),
        write_library_config(tmp_path, library, 'maskany'),
    ]
    arguments = [*configs, '--size', '64', '96', '--turns', '2', '--warmup', '1', '--clock', 'processor']
    tool('analysis_tools/benchmark_configs')([*arguments, '--out', str(tmp_path / 'figures.json')])
    text = capsys.readouterr().out
    assert '2 images of 64 x 96' in text and 'processor clock' in text
    figures = json.loads((tmp_path / 'figures.json').read_text())
    for kind in ('training step', 'inference'):
        assert f'| {kind} | parameters |' in text
        check(figures[kind], ['plain', 'maskany'])
    # Gradients and the optimiser's momentum are needed for training alone.
    for train, infer in zip(figures['training step'], figures['inference'], strict=True):
        assert train['memory'] > infer['memory'] + infer['parameters'] * 2 * 4 / 2**20


def test_classifier_with_mixup(tiny_config, tool, tmp_path, capsys):
    """Labels of mixed images are one-hot, whose length is in mmpretrain's top-level ``data_preprocessor``."""
    path = Path(tiny_config())
    cfg = Config.fromfile(path)
    cfg.data_preprocessor = cfg.model.pop('data_preprocessor')
    cfg.dump(path)
    tool('analysis_tools/benchmark_configs')([str(path), '--size', '16', '16', '--turns', '1', '--warmup', '1'])
    assert '| training step | parameters |' in capsys.readouterr().out


def test_twins_do_the_same_work(write_library_config, tmp_path):
    pytest.importorskip('mmdet')
    plain = write_library_config(tmp_path, 'mmdet', 'plain', model=dict(backbone=dict(PLAIN, _delete_=True)))
    script = runpy.run_path(str(TOOLS / 'analysis_tools' / 'benchmark_configs.py'))
    args = argparse.Namespace(cfg_options={}, amp=False, device='cpu', batch=1, size=(64, 64))
    first, _ = script['build'](plain, args, None)
    second, _ = script['build'](write_library_config(tmp_path, 'mmdet'), args, first.model)
    own, weights = second.model.state_dict(), {name: p.clone() for name, p in first.model.named_parameters()}
    for name, tensor in weights.items():
        assert torch.equal(own[name], tensor), name
    assert second.model.backbone.dual_stem.fusion.is_silent()
    first()  # with a learning rate of 0
    assert all(torch.equal(parameter, weights[name]) for name, parameter in first.model.named_parameters())


def test_masksub_against_its_twin(tool, tmp_path):
    configs = TOOLS.parent / 'configs'
    plain = configs / 'maskany/resnet18-narrow_1xb32-coslr-8e_digits.py'
    masksub = configs / 'masksub/masksub_resnet18-narrow_1xb32-coslr-8e_digits.py'
    arguments = [str(plain), str(masksub), '--size', '32', '32', '--turns', '1', '--warmup', '1']
    tool('analysis_tools/benchmark_configs')([*arguments, '--batch', '8', '--out', str(tmp_path / 'figures.json')])
    rows = json.loads((tmp_path / 'figures.json').read_text())['training step']
    check(rows, [plain.stem, masksub.stem])
    # Beside the activations of one branch, the second pass has the gradients of the first.
    extra = rows[1]['parameters'] * 4 / 2**20
    assert rows[1]['memory'] < rows[0]['memory'] + 1.2 * extra
    args = argparse.Namespace(cfg_options={}, amp=False, device='cpu', batch=1, size=(32, 32))
    step, _ = runpy.run_path(str(TOOLS / 'analysis_tools' / 'benchmark_configs.py'))['build'](masksub, args, None)
    assert step.model.data_preprocessor.mean.flatten().tolist() == pytest.approx([79.6] * 3)  # as the Runner's


def test_mixmask_against_its_twin(tool, tmp_path, capsys):
    rest = 'mocov2_resnet18-narrow_1xb64-coslr-15e_digits.py'
    configs = [TOOLS.parent / 'configs/mixmask' / f'{variant}{rest}' for variant in ('', 'mixmask-')]
    arguments = [*map(str, configs), '--size', '32', '32', '--turns', '2', '--warmup', '1', '--batch', '16']
    tool('analysis_tools/benchmark_configs')([*arguments, '--out', str(tmp_path / 'figures.json')])
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert 'inference' not in figures and 'inference' not in capsys.readouterr().out
    check(figures['training step'], [path.stem for path in configs])
    plain, mixed = figures['training step']
    assert mixed['parameters'] == plain['parameters'] and mixed['memory_ratio'] > 1.1  # activations of one more pass


def test_classifiers(tool, tmp_path, capsys):
    arguments = ['--depth', '18', '--batch', '2', '--size', '128', '--turns', '2', '--warmup', '1']
    tool('analysis_tools/benchmark_train_step')([*arguments, '--out', str(tmp_path / 'figures.json')])
    assert '| step of | parameters |' in capsys.readouterr().out
    rows = json.loads((tmp_path / 'figures.json').read_text())['rows']
    kinds = ('{}', 'MaskAny({})', 'MaskAny({}), concat', "MaskAny({}), fuse_at='levels'")
    check(rows, [*(kind.format('ResNet-18') for kind in kinds), 'MaskResNet-18'])
    assert rows[0]['parameters'] == 11_689_512


def test_families(tool, tmp_path, capsys):
    names, out = ['MobileNetV2', 'DeiT-III-S/16'], tmp_path / 'figures.json'
    arguments = ['--batch', '2', '--size', '128', '--turns', '2', '--warmup', '1', '--out', str(out)]
    tool('analysis_tools/benchmark_train_step')([*arguments, '--families', *names])
    assert '| MaskAny(MobileNetV2) | ' in capsys.readouterr().out
    rows = json.loads(out.read_text())['rows']
    # The weights of the reused stem, its norm or bias, and one scale per channel.
    added = [32 * (3 * 9 + 2 + 1), 384 * (3 * 64 + 1 + 1)]
    for index, name in enumerate(names):
        plain, masked = pair = rows[2 * index : 2 * index + 2]
        check(pair, [name, f'MaskAny({name})'])
        assert masked['parameters'] - plain['parameters'] == added[index]
    with pytest.raises(SystemExit):
        tool('analysis_tools/benchmark_train_step')(['--families', 'Swine'])
    assert "--families must be some of ['ResNet-50', " in capsys.readouterr().err


def test_orders_of_memory(tool, tmp_path):
    out = tmp_path / 'figures.json'
    arguments = ['--batch', '2', '--size', '64', '--turns', '2', '--warmup', '1', '--orders', '--out', str(out)]
    tool('analysis_tools/benchmark_train_step')([*arguments, '--families', 'MobileNetV2'])
    check(json.loads(out.read_text())['rows'], ['MobileNetV2', 'MobileNetV2, channels_last'])
    with pytest.raises(ValueError, match='--orders needs a GPU for RepVGG-A0, which has convolutions of one pixel'):
        tool('analysis_tools/benchmark_train_step')([*arguments, '--families', 'RepVGG-A0'])


def test_memory_by_hand():
    model = torch.nn.Linear(256, 1024, bias=False)  # 1 MiB
    images = torch.ones(1024, 256)
    works = {
        'features': Work(model, lambda: model(images).detach()),  # 4 MiB of features
        'both': Work(model, lambda: [model(images), model(images)]),
    }
    rows = take_turns(works, turns=3, warmup=1)
    assert [row['memory'] for row in rows] == pytest.approx([5, 9], rel=0.01)
    assert '| both | 262,144 | ' in turns_table(rows, 'layer of')

    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)

    def step():
        model(images).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    # Weights, momentum and gradients with the features, whose own gradient is one expanded number.
    (row,) = take_turns({'step': Work(model, step, optimizer)}, turns=1, warmup=1)
    assert row['memory'] == pytest.approx(1 + 1 + 1 + 4, rel=0.01)


@pytest.mark.gpu
def test_two_configs_on_a_gpu(write_library_config, tool, tmp_path):
    pytest.importorskip('mmdet')
    changes = dict(model=dict(backbone=dict(PLAIN, _delete_=True)))
    configs = [write_library_config(tmp_path, 'mmdet', 'plain', **changes), write_library_config(tmp_path, 'mmdet')]
    arguments = [*configs, '--size', '64', '96', '--turns', '2', '--device', 'cuda', '--amp']
    tool('analysis_tools/benchmark_configs')([*arguments, '--out', str(tmp_path / 'figures.json')])
    check(json.loads((tmp_path / 'figures.json').read_text())['training step'], ['plain', 'mmdet'])
