# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmaskany.engine.config_check import check_config


def classifier(**backbone):
    backbone = dict(type='ResNet', depth=18, **backbone)
    head = dict(type='LinearClsHead', num_classes=3, in_channels=512)
    loader = dict(
        batch_size=2,
        num_workers=1,
        dataset=dict(type='CustomDataset', data_root='a', pipeline=[dict(type='RandomFlip', prob=0.5)]),
    )
    model = dict(type='ImageClassifier', backbone=backbone, head=head, neck=dict(type='GlobalAveragePooling'))
    optimizer = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    return Config(dict(default_scope='mmpretrain', model=model, train_dataloader=loader, optim_wrapper=optimizer))


@pytest.mark.parametrize(
    ('key', 'value', 'error', 'message'),
    [
        ('model.head.num_classes', 'ten', TypeError, "must be a number for LinearClsHead, but got 'ten'"),
        ('model.head.num_classes', -3, ValueError, 'must be at least 0, but got -3'),
        ('model.backbone', 3, TypeError, 'must be a dict for ImageClassifier, but got 3'),
        ('model.backbone.norm_eval', 'no', TypeError, "must be True or False for ResNet, but got 'no'"),
        ('model.backbone.drop_path_rate', 1.5, ValueError, r'must be in [0, 1], but got 1.5'),
        ('model.backbone.norm_cfg.type', 'BM', KeyError, "must be the name of a layer, but got 'BM'"),
        ('model.backbone.style', 'tensorflow', ValueError, "must be one of ['caffe', 'pytorch'], but got 'tensorflow'"),
        ('model.backbone.base_chanels', 64, TypeError, 'must be an option of ResNet, but there is base_channels only'),
        ('train_dataloader.dataset.pipeline.0.prob', [0.5, 2], ValueError, 'must be in [0, 1], but got [0.5, 2]'),
        ('optim_wrapper.optimizer.lr', 'high', TypeError, "must be a number for SGD, but got 'high'"),
    ],
)
def test_the_key_is_named(key, value, error, message):
    cfg = classifier(norm_cfg=dict(type='BN'))
    check_config(cfg)
    cfg.merge_from_dict({key: value})
    with pytest.raises(error, match=rf"^[\"']?{re.escape(f'{key} {message}')}"):
        check_config(cfg)


@pytest.mark.parametrize(
    ('scope', 'part'),
    [
        # What the hosts' own configs have, whatever the signatures say.
        ('mmseg', dict(type='FCNHead', in_channels=8, channels=8, num_classes=2, dropout_ratio=-1)),
        (
            'mmseg',
            dict(type='FCNHead', in_channels=[8, 8], channels=8, num_classes=2, input_transform='multiple_select'),
        ),
        ('mmpretrain', dict(type='SVT', arch='small', norm_after_stage=[False, False, True, True])),
        ('mmpretrain', dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=50), init_cfg=[dict(type='X')])),
        ('mmpretrain', dict(type='ImageClassifier', backbone=dict(type='TIMMBackbone', model_name='x', whatever=3))),
        ('mmdet', dict(type='YOLOFHead', num_classes=2, in_channels=512)),
        ('mmdet', dict(type='SomethingOfTheUsers', depth='as they like')),
    ],
)
def test_what_the_hosts_take_is_let_through(scope, part):
    check_config(Config(dict(default_scope=scope, model=part)))


@pytest.mark.parametrize('scale', [512.0, 'dynamic', dict(init_scale=512.0)])
def test_loss_scale_is_what_it_may_be(scale):
    check_config(Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=scale))))


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmpretrain', 'mmdet', 'mmseg'])
def test_configs_of_the_hosts_pass(host):
    folder = Path(pytest.importorskip(host).__file__).parent / '.mim' / 'configs'
    paths = sorted(path for path in folder.rglob('*.py') if '_base_' not in path.parts)[::8]
    refused = {}
    for path in paths:
        try:
            cfg = Config.fromfile(path)
        except Exception:  # it needs what is not installed
            continue
        try:
            check_config(cfg)
        except (KeyError, TypeError, ValueError) as error:
            refused[path.stem] = str(error)
    print(f'{host}: {len(paths)} configs')
    assert refused == {}


def test_training_refuses_a_bad_value_before_anything_is_built(tiny_config, tool, tmp_path):
    run = ['--work-dir', str(tmp_path / 'run'), '--cfg-options', 'model.head.in_channels=many']
    with pytest.raises(TypeError, match=r"model\.head\.in_channels must be a number for LinearClsHead, but got 'many'"):
        tool('train')([tiny_config(), *run])
    assert not (tmp_path / 'run').exists()
