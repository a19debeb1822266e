# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The metafiles are made of every config and of what was measured; READMEs and configs show their results."""

import copy
import gc
import re
import runpy
from pathlib import Path

import pytest
import yaml
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT, load
from torch import nn

from mmmaskany.environment import choose_set

METAFILES = runpy.run_path(str(ROOT / 'tools/misc/metafiles.py'))
TABLES = runpy.run_path(str(ROOT / 'tools/misc/model_tables.py'))
MODEL_LIST = TABLES['load_models'](ROOT)


def test_the_code_of_collections_exists():
    for path in (ROOT / 'configs').rglob('metafile.yml'):
        for collection in yaml.safe_load(path.read_text())['Collections']:
            assert (ROOT / collection['Code']['URL']).is_file(), collection


def test_every_config_is_listed_once():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert sorted(index['Import']) == sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('metafile.yml')
    )
    listed = [model['Config'] for model in MODEL_LIST]
    assert len(listed) == len(set(listed))
    shipped = [path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in shipped)
    for path in index['Import']:
        assert (ROOT / path).with_name('README.md').is_file()


def test_metafiles_are_current():
    for folder, configs in METAFILES['read_configs'](ROOT, load).items():
        text = METAFILES['metafile'](folder, configs, ROOT)
        assert text == (ROOT / 'configs' / folder / 'metafile.yml').read_text(), (
            f'configs/{folder}/metafile.yml must be what `python tools/misc/metafiles.py` makes: run it'
        )


def test_entries_say_what_the_configs_are():
    """Written by hand, of each kind of name one."""
    found = {model['Name']: model['Metadata'] for model in MODEL_LIST}
    expected = {
        'maskany_r50_in1k': ('MaskResNet-50', 'MaskAny', 'ImageNet-1k', 'Epochs', 100, 1024),
        'maskany_resnet50-noreuse_in21k-pre_8xb8-coslr-100e_cub-448px': (
            *('MaskAny ResNet-50', 'masks without reuse', 'CUB-200-2011', 'Epochs', 100, 64),
        ),
        'maskany_maskresnet34-autoaugment_1xb128-coslr-300e_cifar100-224px': (
            *('MaskResNet-34, 224 px', 'unmasked, AutoAugment', 'CIFAR-100', 'Epochs', 300, 128),
        ),
        'masksub_deit3-base-p16_192px-pre_8xb64-coslr-20e_in1k': (
            *('DeiT-III-B/16, 224 px from 192 px', 'MaskSub', 'ImageNet-1k', 'Epochs', 20, 512),
        ),
        'noise-red_maskany-resnet18-narrow_1xb32-coslr-8e_digits': (
            *('MaskAny ResNet-18 (narrow)', 'red noise', 'Digits', 'Epochs', 8, 32),
        ),
        'resnet50_mixmask-mocov2-pre_8xb32-steplr-20e_in1k-1pct': (
            *('ResNet-50, 1 % of the labels', 'MixMask on MoCo v2', 'ImageNet-1k', 'Epochs', 20, 256),
        ),
        'faster-rcnn_mocov2-pre-r50-c4_ms-24k_voc0712': (
            *('Faster R-CNN, ResNet-50-C4', 'MoCo v2', 'VOC07+12', 'Iterations', 24000, 16),
        ),
        'masksub_maskany-r50_upernet_8xb2-160k_ade20k-512x512': (
            *('UperNet, MaskAny ResNet-50', 'MaskAny + MaskSub', 'ADE20K', 'Iterations', 160000, 16),
        ),
        'mask-rcnn_r18-narrow-scratch_fpn_8e_digits': (
            *('Mask R-CNN, ResNet-18 (narrow)', 'plain, from scratch', 'Digit scenes (COCO format)', 'Epochs', 8, 8),
        ),
    }
    for name, (architecture, variant, data, unit, length, batch) in expected.items():
        own = {
            'Architecture': architecture,
            'Variant': variant,
            'Training Data': data,
            unit: length,
            'Batch Size': batch,
        }
        assert found[name].items() >= own.items()


def test_what_was_measured_becomes_results():
    values = {'Top 1 Accuracy': '91.20 ± 0.30'}
    experiment = {
        'Command': 'run {config} --x {a,b}',
        'Training Resources': 'a GPU',
        'Training Time': 'an hour',
        'Seeds': 3,
        'Models': {'a': values},
    }
    results = {'Collections': [{'Name': 'Toys'}], 'Measurements': [experiment]}
    read = METAFILES['read_measurements']
    path = ROOT / 'configs/maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'
    relative = path.relative_to(ROOT)
    model = METAFILES['entry_of'](relative, load(path), 'maskany', results, read(results)['a'], 5)
    assert model['Metadata']['Training Resources'] == 'a GPU' and model['Metadata']['Training Time'] == 'an hour'
    assert model['In Collection'] == 'Toys'
    assert model['Results'] == [
        {
            'Task': 'Image Classification',
            'Dataset': 'Digits',
            'Metrics': {'Top 1 Accuracy': 91.2, 'Top 5 Accuracy': None},
            'Standard Deviation': {'Top 1 Accuracy': 0.3},
            'Seeds': 3,
            'Command': f'run {relative} --x {{a,b}}',
        }
    ]
    for wrong, message in (
        (
            dict(Models={'a': {'mIoU': '9.00'}}, Seeds=1),
            r"what was measured of maskany_.* must be of .*, but got \['mIoU'\]",
        ),
        (dict(Seeds=1), 'must be a number, and of several seeds mean ± standard deviation, but got 91.20 ± 0.30 of 1'),
        (dict(Models={'a': {'Top 1 Accuracy': 91.2}}), 'but got 91.2 of 3'),
    ):
        changed = dict(results, Measurements=[experiment | wrong])
        with pytest.raises(ValueError, match=message):
            METAFILES['entry_of'](relative, load(path), 'maskany', changed, read(changed)['a'], 5)
    with pytest.raises(ValueError, match='a model must be measured once, but a is measured twice'):
        read(dict(results, Measurements=[experiment, experiment]))


def test_results_are_of_configs_that_exist(tmp_path):
    (tmp_path / 'configs/maskany').mkdir(parents=True)
    results = {'Collections': [{'Name': 'Toys'}], 'Weights': {'gone': 'https://host/gone.pth'}}
    (tmp_path / 'configs/maskany/results.yml').write_text(yaml.safe_dump(results))
    with pytest.raises(ValueError, match=r"Weights of configs/maskany/results.yml must be of its .* got \['gone'\]"):
        METAFILES['metafile']('maskany', {}, tmp_path)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (
            'resnet18_1xb32-coslr-8e_flowers',
            'must end in one of in1k, .*, but got resnet18_1xb32-coslr-8e_flowers: add it',
        ),
        ('vgg11_8xb128-coslr-100e_in1k', 'must have a network of resnet18, .*, but got vgg11'),
        ('dots_resnet18_1xb32-coslr-8e_digits', 'must begin with one of cutout, .*, but got dots_resnet18'),
    ],
)
def test_names_that_are_not_understood_are_refused(name, message):
    cfg = load(ROOT / 'configs/maskany/resnet18-narrow_1xb32-coslr-8e_digits.py')
    with pytest.raises(ValueError, match=message):
        METAFILES['entry_of'](Path(f'{name}.py'), cfg, 'masking', {'Collections': [{'Name': 'Toys'}]}, None, 5)


@pytest.mark.parametrize('model', MODEL_LIST, ids=lambda model: model['Name'])
def test_parameters_are_those_of_the_model(model, monkeypatch):
    cfg = load(ROOT / model['Config'])
    pytest.importorskip(cfg.default_scope)
    # Weights are only counted here, and drawing them takes most of the time and memory; layer masking tries them.
    tried = cfg.model.get('sub_masking', {}).get('type') == 'mmmaskany.HideFromLayers'
    for layer in () if tried else (nn.Linear, nn.modules.conv._ConvNd):
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)
    init_default_scope(cfg.default_scope)
    network = MODELS.build(copy.deepcopy(cfg.model))
    # The first layer of DINO's ref_point_head takes 1,024 channels in onedl-mmdetection, in mmdet 512.
    more = 512 * 256 if model['Name'].startswith('dino') and choose_set() == 'onedl' else 0
    count = sum(parameter.numel() for parameter in network.parameters())
    if count > 10**8:  # a process that holds, if only by name, more memory than there is cannot start another one
        del network
        gc.collect()
    assert model['Metadata']['Parameters'] + more == count


def test_parameter_counts_are_those_of_the_paper():
    counts = {
        model['Metadata']['Architecture']: model['Metadata']['Parameters']
        for model in MODEL_LIST
        if model['Metadata']['Training Data'] == 'ImageNet-1k'
    }
    assert counts['MaskResNet-34'] == 22_019_304
    assert counts['MaskResNet-50'] == 25_753_960
    assert counts['MaskResNet-101'] == 44_746_088
    assert counts['MaskSwin-T'] == 28_286_626
    assert counts['MaskViT-B/16'] == 86_715_880


def test_readmes_and_configs_are_current(capsys):
    assert TABLES['main'](['--check', '--root', str(ROOT)]) == 0, capsys.readouterr().out
    # Every folder shows all that it has.
    for folder in {Path(model['Config']).parts[1] for model in MODEL_LIST if len(Path(model['Config']).parts) > 2}:
        shown = re.findall(r'<!-- models: (.+?) -->', (ROOT / 'configs' / folder / 'README.md').read_text())
        assert sorted(shown) == sorted(
            {model['Metadata']['Training Data'] for model in MODEL_LIST if f'/{folder}/' in model['Config']}
        )


def test_table_shows_what_was_measured(tmp_path):
    model = dict(
        Name='a',
        Config='configs/x/a.py',
        Metadata={
            'Architecture': 'Net',
            'Variant': 'plain',
            'Training Data': 'Toys',
            'Epochs': 3,
            'Parameters': 1_234_567,
            'Training Resources': 'a GPU',
        },
        Results=[
            {
                'Metrics': {'Top 1 Accuracy': 91.234, 'Top 5 Accuracy': None},
                'Standard Deviation': {'Top 1 Accuracy': 0.2},
            }
        ],
        Weights='https://host/a.pth',
    )
    model['Results'][0]['Seeds'] = 3
    text = 'before\n<!-- models: Toys -->\nold\n<!-- /models -->\nafter\n'
    folder = tmp_path / 'configs/x'
    assert TABLES['update'](text, [model], folder, tmp_path) == (
        'before\n<!-- models: Toys -->\n'
        '| Model | Variant | Parameters (M) | Epochs | Top-1 (%) | Top-5 (%) | Measured on | Files |\n'
        '| --- | --- | ---: | ---: | ---: | ---: | --- | --- |\n'
        '| Net | plain | 1.23 | 3 | 91.23 ± 0.20 |  | a GPU, 3 seeds | [config](a.py) [model](https://host/a.pth) |\n'
        '<!-- /models -->\nafter\n'
    )
    # Beside a metafile stand its own models, elsewhere all.
    others = [dict(model, Name='b', Folder='configs/y'), dict(model, Folder='configs/x')]
    assert TABLES['update'](text, others, folder, tmp_path) == TABLES['update'](text, [model], folder, tmp_path)
    assert TABLES['update'](text, others, tmp_path, tmp_path).count('91.23') == 2
    with pytest.raises(ValueError, match=r"one of the data sets \['Toys'\], but got 'Boys'"):
        TABLES['update'](text.replace('Toys', 'Boys'), [model], folder, tmp_path)


def test_configs_say_what_was_measured():
    command = 'python tools/compare.py ' + ' '.join(f'--option-{number} {number}' for number in range(9))
    model = {
        'Metadata': {'Training Resources': 'a GPU'},
        'Results': [{'Metrics': {'box AP': 37.4, 'box AP50': None}, 'Seeds': 1, 'Command': command}],
    }
    bare = '# Licence.\n# About it.\n_base_ = [\n    # The recipe.\n]\n'
    text = TABLES['update_config'](bare, model)
    comment = text.removesuffix('_base_ = [\n    # The recipe.\n]\n').splitlines()
    assert comment[:5] == ['# Licence.', '# About it.', '#', '# Measured: Box AP 37.40; a GPU, 1 seed, by', '#']
    lines = [line.removeprefix('#').strip() for line in comment[5:]]
    assert [line.endswith(' \\') for line in lines] == [True, False] and max(map(len, comment)) <= 120
    assert ' '.join(line.removesuffix(' \\') for line in lines) == command
    # What a metafile says takes the place of what it said, and nothing is left of it where it says nothing.
    model['Results'][0]['Metrics']['box AP'] = 38.0
    assert TABLES['update_config'](text, model) == text.replace('37.40', '38.00')
    model['Metadata']['Training Time'] = 'an hour'
    assert 'a GPU, 1 seed, an hour each, by' in TABLES['update_config'](text, model)
    model['Results'][0]['Metrics']['box AP'] = None
    assert TABLES['update_config'](text, model) == bare


def test_columns_are_those_of_the_task(tmp_path):
    def model(name, schedule, *results):
        metadata = {'Architecture': name, 'Variant': 'plain', 'Parameters': 1e6, **schedule}
        return dict(Name=name, Config=f'configs/{name}.py', Metadata=metadata, Results=list(results))

    boxes = dict(Metrics={'box AP': 37.4})
    masks = {'Metrics': {'mask AP': 34.71}, 'Standard Deviation': {'mask AP': 0.1}}
    detectors = [model('a', {'Epochs': 12}, boxes), model('b', {'Epochs': 36}, dict(Metrics={'box AP': None}), masks)]
    heads = '| Model | Variant | Parameters (M) |'
    assert TABLES['render'](detectors, tmp_path / 'configs', tmp_path).splitlines() == [
        f'{heads} Epochs | Box AP | Mask AP | Measured on | Files |',
        '| --- | --- | ---: | ---: | ---: | ---: | --- | --- |',
        '| a | plain | 1.00 | 12 | 37.40 |  |  | [config](a.py) |',
        '| b | plain | 1.00 | 36 |  | 34.71 ± 0.10 |  | [config](b.py) |',
    ]
    segmentor = model('c', {'Iterations': 160000}, dict(Metrics={'mIoU': 42.05}))
    assert TABLES['render']([segmentor], tmp_path / 'configs', tmp_path).splitlines()[::2] == [
        f'{heads} Iterations | mIoU (%) | Measured on | Files |',
        '| c | plain | 1.00 | 160000 | 42.05 |  | [config](c.py) |',
    ]
    with pytest.raises(ValueError, match="a metric must be one of .*'mIoU'.*but got 'aAcc' in d"):
        TABLES['render']([model('d', {}, dict(Metrics={'aAcc': 80.0}))], tmp_path, tmp_path)
