# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""``--cfg-options``: every value arrives as it is written, and a key that nothing would read is refused."""

import argparse
import os

import pytest
from mmengine.config import Config, DictAction

from mmmaskany.engine.checks.config import OptionAction, merge_options


def parse(action, *items):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=action, default={})
    return parser.parse_args(['--cfg-options', *items]).cfg_options


@pytest.mark.parametrize(
    'value', ['1', '1e-3', '-0.5', 'True', 'false', 'None', 'a', 'a,b', '[a,b]', '(1,2)', '[(0.1,0.2),3]']
)
def test_values_that_the_libraries_read(value):
    ours, theirs = parse(OptionAction, f'a.b={value}'), parse(DictAction, f'a.b={value}')
    assert ours == theirs and type(ours['a.b']) is type(theirs['a.b'])


@pytest.mark.parametrize(
    ('value', 'wanted'),
    [
        ('data/sp ace', 'data/sp ace'),
        ('(a,b),(c,d)', [('a', 'b'), ('c', 'd')]),
        ('[data/sp ace, b]', ['data/sp ace', 'b']),
        ("[{'type': 'Mixup', 'alpha': 0.8}]", [dict(type='Mixup', alpha=0.8)]),
        ('[dict(type=Mixup, alpha=0.8), dict(type=CutMix)]', [dict(type='Mixup', alpha=0.8), dict(type='CutMix')]),
        ('dict(a=dict(b=(1, 2)), c={d: None})', dict(a=dict(b=(1, 2)), c=dict(d=None))),
        ("'5'", '5'),
        ("'a,b'", 'a,b'),
        ("data/it's", "data/it's"),
        ('a (1)/b', 'a (1)/b'),
        ('(1) a/b', '(1) a/b'),
        ('a=b', 'a=b'),
        ('', ''),
        ('[]', []),
    ],
)
def test_values_that_only_we_read(value, wanted):
    assert parse(OptionAction, f'a={value}') == dict(a=wanted)


@pytest.mark.parametrize('item', ['a', '=1', 'a=dict(b)', 'a={b}'])
def test_what_is_no_option(item, capsys):
    with pytest.raises(SystemExit, match='2'):
        parse(OptionAction, item)
    assert 'must be' in capsys.readouterr().err


@pytest.fixture
def cfg():
    info = dict(classes=('a', 'b'))
    data = dict(dataset=dict(type='CustomDataset', data_root='data/cats', metainfo=info))
    return Config(
        dict(
            data_root='data/cats',
            metainfo=info,
            batch=32,
            model=dict(test_cfg=dict(score_thr=0.1)),
            train_dataloader=data,
            val_dataloader=data,
            val_evaluator=dict(ann_file='data/cats/val.json'),
            env_cfg=dict(cudnn_benchmark=True),
        )
    )


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        (
            'data_root',
            r'data_root is a variable of the config file, .*: give train_dataloader\.dataset\.data_root, '
            r'val_dataloader\.dataset\.data_root, val_evaluator\.ann_file instead',
        ),
        ('metainfo.classes', r'give train_dataloader\.dataset\.metainfo\.classes, val_dataloader\.dataset\.metainfo'),
        ('batch', 'batch is a variable of the config file, .* give what is made of it'),
        ('no_such', 'no_such must begin with a key of the config'),
        ('launcher', 'launcher must be given by --launcher'),
        ('env_cfg.cudnn_bench', 'which of env_cfg are cudnn_benchmark, mp_cfg'),
        ('auto_scale_lr.enabled', None),  # there is no such dict in this config: MMEngine makes one
        ('model.test_cfg.score_th', r'model\.test_cfg has score_thr only'),
    ],
)
def test_keys_that_nothing_reads(cfg, key, message):
    if message is None:
        cfg.auto_scale_lr = dict(base_batch_size=8)
        message = 'which of auto_scale_lr are enable, base_batch_size'
    before = cfg.to_dict()
    with pytest.raises(KeyError, match=message):
        merge_options(cfg, {key: 1})
    assert cfg.to_dict() == before


def test_keys_that_are_read(cfg):
    merge_options(cfg, {'model.test_cfg.max_per_img': 5, 'env_cfg.cudnn_benchmark': False, 'tta_pipeline': []})
    assert cfg.model.test_cfg == dict(score_thr=0.1, max_per_img=5)
    with pytest.raises(TypeError, match=r'--cfg-options must fit the config, but val_evaluator\.ann_file\.x gave'):
        merge_options(cfg, {'val_evaluator.ann_file.x': 1})


def test_home_folder(cfg, monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    paths = {'train_dataloader.dataset.data_root': '~/a b', 'val_dataloader.dataset.ann_file': ['~/a', '~', 'b~']}
    merge_options(cfg, paths)
    assert cfg.train_dataloader.dataset.data_root == os.path.join('/home/me', 'a b')
    assert cfg.val_dataloader.dataset.ann_file == ['/home/me/a', '/home/me', 'b~']


def test_training_reads_data_in_the_home_folder(tiny_config, tool, image_folder, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(image_folder.parent))
    loader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=f'~/{image_folder.name}'))
    config = tiny_config(train_dataloader=loader, val_dataloader=loader, train_cfg=dict(max_epochs=1))
    tool('train')([config, '--work-dir', str(tmp_path / 'run')])
