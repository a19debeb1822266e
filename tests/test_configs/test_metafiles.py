# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The metafiles list every config, say what is true of it, and are what the READMEs' tables show."""

import re
import runpy
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

ROOT = Path(__file__).parents[2]
TABLES = runpy.run_path(str(ROOT / 'tools/misc/model_tables.py'))
MODEL_LIST = TABLES['load_models'](ROOT)


def test_every_config_is_listed_once():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert sorted(index['Import']) == sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('metafile.yml')
    )
    listed = [model['Config'] for model in MODEL_LIST]
    assert len(listed) == len(set(listed))
    folders = [ROOT / Path(path).parent for path in index['Import']]
    shipped = [path for folder in folders for path in folder.glob('*.py')] + [ROOT / 'configs/maskany_r50_in1k.py']
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in shipped)
    for folder in folders:
        assert (folder / 'README.md').is_file()


@pytest.mark.parametrize('model', MODEL_LIST, ids=lambda model: model['Name'])
def test_entry_is_true(model):
    assert Path(model['Config']).stem == model['Name']
    cfg, metadata = Config.fromfile(ROOT / model['Config']), model['Metadata']
    init_default_scope(cfg.default_scope)
    network = MODELS.build(cfg.model)
    assert metadata['Parameters'] == sum(parameter.numel() for parameter in network.parameters())
    assert metadata['Epochs'] == cfg.train_cfg.max_epochs
    assert metadata['Batch Size'] == cfg.auto_scale_lr.base_batch_size
    arms = {
        '-unmasked': 'unmasked',
        '-noreuse': 'masks without reuse',
        '-pipeline': 'MaskAny, data pipeline',
    }
    arm = next((arm for mark, arm in arms.items() if f'{mark}_' in model['Name']), None)
    assert metadata['Arm'] == (arm or ('MaskAny' if model['Name'].startswith('maskany_') else 'plain'))
    (result,) = model['Results']
    assert result['Dataset'] == metadata['Training Data']
    measured = [value for value in result['Metrics'].values() if value is not None]
    # What was measured says on what, and by which command.
    assert not measured or (metadata['Training Resources'] and result['Command'])


def test_parameter_counts_are_those_of_the_paper():
    counts = {model['Metadata']['Architecture']: model['Metadata']['Parameters'] for model in MODEL_LIST}
    assert counts['MaskResNet-34'] == 22_019_304
    assert counts['MaskResNet-50'] == 25_753_960
    assert counts['MaskResNet-101'] == 44_746_088


def test_readme_tables_are_current(capsys):
    assert TABLES['main'](['--check', '--root', str(ROOT)]) == 0, capsys.readouterr().out
    shown = re.findall(r'<!-- models: (.+?) -->', (ROOT / 'configs/maskany/README.md').read_text())
    assert sorted(shown) == sorted({model['Metadata']['Training Data'] for model in MODEL_LIST})


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
    with pytest.raises(ValueError, match=r"one of the data sets \['Toys'\], but got 'Boys'"):
        TABLES['update'](text.replace('Toys', 'Boys'), [model], folder, tmp_path)
