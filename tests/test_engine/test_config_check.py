# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import copy
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmaskany.engine.checks.config import check_config, merge_options


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
        # What the libraries' own configs have, whatever the signatures say.
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
def test_what_the_libraries_take_is_let_through(scope, part):
    check_config(Config(dict(default_scope=scope, model=part)))


@pytest.mark.parametrize('scale', [512.0, 'dynamic', dict(init_scale=512.0)])
def test_loss_scale_is_what_it_may_be(scale):
    check_config(Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale=scale))))


@pytest.mark.slow
@pytest.mark.parametrize('library', ['mmpretrain', 'mmdet', 'mmseg'])
def test_configs_of_the_libraries_pass(library):
    folder = Path(pytest.importorskip(library).__file__).parent / '.mim' / 'configs'
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
    print(f'{library}: {len(paths)} configs')
    assert refused == {}


def test_training_refuses_a_bad_value_before_anything_is_built(tiny_config, tool, tmp_path):
    run = ['--work-dir', str(tmp_path / 'run'), '--cfg-options', 'model.head.in_channels=many']
    with pytest.raises(TypeError, match=r"model\.head\.in_channels must be a number for LinearClsHead, but got 'many'"):
        tool('train')([tiny_config(), *run])
    assert not (tmp_path / 'run').exists()


MASKED = dict(
    type='mmmaskany.MaskAny',
    backbone=dict(type='mmpretrain.ResNet', depth=18),
    masking=dict(
        pattern=dict(
            type='mmmaskany.MixturePattern',
            patterns=[dict(type='mmmaskany.GridPattern', scale=0.5), dict(type='mmmaskany.PatchPattern', scale=0.5)],
            probs=[0.1, 0.2],
        )
    ),
)
MASKING = 'model.backbone.masking'
AUGMENT = dict(type='mmmaskany.AutoAugmentViews', policy='imagenet', mean=[127.5] * 3, std=[127.5] * 3)


@pytest.mark.parametrize(
    ('key', 'value', 'error', 'message'),
    [
        (f'{MASKING}.revise', True, TypeError, '{} must be an option of masking, which are pattern, fill, reuse'),
        (
            f'{MASKING}.reuse',
            'no',
            ValueError,
            f"{MASKING}: reuse must be one of [True, False, 'aligned', 'in_place'], ",
        ),
        (
            f'{MASKING}.augment',
            dict(type='mmmaskany.MeanFill'),
            TypeError,
            '{}: augment must be an Augment, but got Me',
        ),
        (
            f'{MASKING}.augment',
            dict(AUGMENT, std=[0.2] * 3),
            ValueError,
            '{}: std must be that of three channels, in un',
        ),
        (f'{MASKING}.augment', dict(AUGMENT, bg=True), TypeError, '{}.bg must be an option of AutoAugmentViews'),
        (f'{MASKING}.pattern.scal', 1, TypeError, '{} must be an option of MixturePattern, which are patterns, probs'),
        (f'{MASKING}.pattern.patterns.1.scale', 1.5, ValueError, MASKING + '.pattern.patterns.1: scale must be in (0'),
        (f'{MASKING}.pattern.probs', [0.9, 0.9], ValueError, MASKING + '.pattern: probabilities must be >= 0 and sum'),
        (f'{MASKING}.pattern.patterns.0.type', 'GridPattern', KeyError, '{} must be the name of something, but there'),
        (f'{MASKING}.fill', dict(type='mmmaskany.MeanFil'), KeyError, '{}.type must be the name of something, but the'),
        (
            'custom_hooks.0.interval',
            0,
            ValueError,
            'custom_hooks.0: interval must be a whole number of at least 1, but',
        ),
    ],
)
def test_the_key_of_our_own_parts_is_named(key, value, error, message):
    cfg = classifier()
    cfg.custom_hooks = [dict(type='mmmaskany.MaskVisualizationHook', interval=5)]
    cfg.model.backbone = copy.deepcopy(MASKED)
    before = cfg.copy().to_dict()
    check_config(cfg)
    assert cfg.to_dict() == before
    cfg.merge_from_dict({key: value})
    with pytest.raises(error, match=rf"^[\"']?{re.escape(message.format(key))}"):
        check_config(cfg)


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('GridPattern', ': write mmmaskany.GridPattern, with the prefix'),
        ('mmmaskany.GirdPattern', '; did you mean mmmaskany.GridPattern?'),
        ('GirdPattern', '; did you mean mmmaskany.GridPattern?'),
    ],
)
def test_a_name_of_ours_is_suggested(name, hint):
    cfg = classifier()
    cfg.model.backbone = copy.deepcopy(MASKED)
    cfg.model.backbone.masking.pattern.patterns[0].type = name
    with pytest.raises(KeyError, match=re.escape(f'there is no {name!r}{hint}')):
        check_config(cfg)


def test_keys_that_nothing_would_read_are_refused():
    cfg = classifier()
    merge_options(cfg, {'optim_wrapper.optimizer.lr': 0.5, 'find_unused_parameters': True, 'randomness.seed': 3})
    assert (cfg.optim_wrapper.optimizer.lr, cfg.find_unused_parameters, cfg.randomness.seed) == (0.5, True, 3)
    with pytest.raises(
        KeyError, match=r'optim_wraper.lr must begin with a key .* no optim_wraper; did you mean optim_'
    ):
        merge_options(cfg, {'optim_wraper.lr': 1})
    with pytest.raises(KeyError, match="xyz must begin with a key of the config, but there is no xyz'"):
        merge_options(cfg, {'xyz': 1})
