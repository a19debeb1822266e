# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The metafiles list every config, say what is true of it, and are what READMEs and configs show of results."""

import copy
import gc
import re
import runpy
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT, load
from torch import nn

from mmmaskany.apis.environment import choose_hosts

TABLES = runpy.run_path(str(ROOT / 'tools/misc/model_tables.py'))
MODEL_LIST = TABLES['load_models'](ROOT)


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


CLASSIFICATION_ARMS = {
    '-unmasked': 'unmasked',
    '-noreuse': 'masks without reuse',
    '-pipeline': 'MaskAny, data pipeline',
    '-patch': 'MaskAny, patch',
    '-grid': 'MaskAny, grid',
    '-random': 'MaskAny, random cells',
    '-attention': 'MaskSub, guided by attention',
    '-activation': 'MaskSub, guided by class activation',
    '-layers': 'MaskSub, hidden from layers',
}
SPECIALITIES = {
    '-masked': 'masked',
    '-late': 'late fusion',
    '-scratch': 'from scratch',
    '-ignore': 'hidden objects ignored',
    '-objects': 'masked outside of objects',
    '-hidden': 'hidden pixels weighed',
}
#: Of configs/masking, by the first word of the name.
MASKING_ARMS = {
    'cutout': 'Cutout',
    'gridmask': 'GridMask',
    'random-token': 'random cells, learned token',
    'block-mean': 'blocks, mean',
    **{f'noise-{color}': f'{color} noise' for color in ('red', 'blue', 'green', 'purple')},
    'easy-to-hard': 'MaskAny, easy to hard',
    'early': 'MaskAny, early, then off',
    'cutmix': 'CutMix',
    'maskmix': 'MaskMix',
    'mae-ratio': 'three of four cells',
    'simmim': 'SimMIM',
    'simmim-noise': 'SimMIM, blue noise',
    'mae': 'MAE',
    'mae-noise': 'MAE, green noise',
}


#: Of configs/mixmask: the framework, and what is mixed.
SIAMESE = re.compile(r'(?P<un>unmix-)?(?P<mask>mixmask-(?P<discrete>discrete-)?)?(?P<framework>mocov2|simsiam)')


def siamese_arm(name: str) -> str:
    """Read the arm from the name of a config of configs/mixmask."""
    if 'scratch' in name:
        return 'random weights'
    found = SIAMESE.search(name)
    mask = 'MixMask, discrete' if found['discrete'] else 'MixMask' if found['mask'] else ''
    mixed = ' + '.join(filter(None, ['Un-Mix' if found['un'] else '', mask]))
    framework = {'mocov2': 'MoCo v2', 'simsiam': 'SimSiam'}[found['framework']]
    return f'{mixed} on {framework}' if mixed else framework


def arm(name: str, scope: str) -> str:
    """Read the arm from the name of a config."""
    if SIAMESE.search(name) or '_scratch_' in name:
        return siamese_arm(name)
    if (method := name.partition('_')[0]) in MASKING_ARMS:
        return MASKING_ARMS[method]
    marks = CLASSIFICATION_ARMS if scope == 'mmpretrain' else SPECIALITIES
    special = [arm for mark, arm in marks.items() if f'{mark}_' in name or f'{mark}-' in name]
    if '-autoaugment_' in name:
        return f'{"unmasked" if name.startswith("maskany_") else "plain"}, AutoAugment'
    if scope == 'mmpretrain' and special:
        return special[0]
    methods = dict(MaskAny='maskany|maskresnet|maskswin', MaskSub='masksub')
    found = [method for method, names in methods.items() if re.search(names, name)]
    return ', '.join([' + '.join(found) or 'plain', *special])


def results(cfg: Config) -> dict[str, list[str]]:
    """Read from the evaluator of a config what its results are: the metrics of each task."""
    evaluator = cfg.get('val_evaluator')
    if evaluator is None:  # pre-training
        masked = cfg.model.type in ('SimMIM', 'MAE')
        return {'Masked Image Modeling' if masked else 'Self-Supervised Learning': []}
    if cfg.default_scope == 'mmpretrain':
        return {'Image Classification': ['Top 1 Accuracy', 'Top 5 Accuracy']}
    if cfg.default_scope == 'mmseg':
        return {'Semantic Segmentation': evaluator.iou_metrics}
    if evaluator.type == 'VOCMetric':  # at an overlap of one half
        return {'Object Detection': ['box AP50']}
    tasks = dict(bbox=('Object Detection', ['box AP']), segm=('Instance Segmentation', ['mask AP']))
    metrics = [evaluator.metric] if isinstance(evaluator.metric, str) else evaluator.metric
    return dict(tasks[metric] for metric in metrics)


@pytest.mark.parametrize('model', MODEL_LIST, ids=lambda model: model['Name'])
def test_entry_is_true(model, monkeypatch):
    assert Path(model['Config']).stem == model['Name']
    cfg, metadata = load(ROOT / model['Config']), model['Metadata']
    pytest.importorskip(cfg.default_scope)
    # Weights are only counted here, and drawing them takes most of the time and memory; layer masking tries them.
    tried = cfg.model.get('sub_masking', {}).get('type') == 'mmmaskany.HideFromLayers'
    for layer in () if tried else (nn.Linear, nn.modules.conv._ConvNd):
        monkeypatch.setattr(layer, 'reset_parameters', lambda self: None)
    init_default_scope(cfg.default_scope)
    network = MODELS.build(copy.deepcopy(cfg.model))
    # The first layer of DINO's ref_point_head takes 1,024 channels in onedl-mmdetection, in mmdet 512.
    more = 512 * 256 if model['Name'].startswith('dino') and choose_hosts() == 'onedl' else 0
    count = sum(parameter.numel() for parameter in network.parameters())
    if count > 10**8:  # a process that holds, if only by name, more memory than there is cannot start another one
        del network
        gc.collect()
    assert metadata['Parameters'] + more == count
    schedule = {'Epochs': cfg.train_cfg.get('max_epochs'), 'Iterations': cfg.train_cfg.get('max_iters')}
    assert {key: metadata.get(key) for key in schedule} == schedule
    assert metadata['Batch Size'] == cfg.auto_scale_lr.base_batch_size
    assert metadata['Arm'] == arm(model['Name'], cfg.default_scope)
    assert {result['Task']: list(result['Metrics']) for result in model['Results']} == results(cfg)
    for result in model['Results']:
        assert result['Dataset'] == metadata['Training Data']
        # What was measured says on what, and by which command.
        measured = [value for value in result['Metrics'].values() if value is not None]
        assert not measured or (metadata['Training Resources'] and result['Command'])


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
            'Arm': 'plain',
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
        '| Model | Arm | Parameters (M) | Epochs | Top-1 (%) | Top-5 (%) | Measured on | Files |\n'
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
    model['Results'][0]['Metrics']['box AP'] = None
    assert TABLES['update_config'](text, model) == bare


def test_columns_are_those_of_the_task(tmp_path):
    def model(name, schedule, *results):
        metadata = {'Architecture': name, 'Arm': 'plain', 'Parameters': 1e6, **schedule}
        return dict(Name=name, Config=f'configs/{name}.py', Metadata=metadata, Results=list(results))

    boxes = dict(Metrics={'box AP': 37.4})
    masks = {'Metrics': {'mask AP': 34.71}, 'Standard Deviation': {'mask AP': 0.1}}
    detectors = [model('a', {'Epochs': 12}, boxes), model('b', {'Epochs': 36}, dict(Metrics={'box AP': None}), masks)]
    heads = '| Model | Arm | Parameters (M) |'
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
