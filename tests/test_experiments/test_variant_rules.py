# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What each variant changes in a config, and that it changes nothing else."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmaskany.experiments.variant_rules import RULES, keep_config, variant_text

CONFIGS = Path(__file__).parents[2] / 'configs'
DIGITS = CONFIGS / 'maskany/maskany_resnet18-narrow_1xb32-coslr-8e_digits.py'
ENTRY = CONFIGS / 'maskany_r50_in1k.py'


@pytest.fixture
def vary(tmp_path):
    """Return a config and its variant, as dicts: ``vary('noreuse', config)``."""

    def make(name, config=DIGITS):
        path = tmp_path / f'{name}.py'
        path.write_text(variant_text(name, Path(config), tmp_path))
        return tuple(Config.fromfile(file).to_dict() for file in (config, path))

    return make


@pytest.mark.parametrize(
    ('name', 'changed'),
    [
        ('maskany', {}),
        ('unmasked', dict(masking=None)),
        ('noreuse', dict(reuse=False)),
        ('aligned', dict(reuse='aligned')),
        ('in-place', dict(reuse='in_place')),
    ],
)
def test_of_masking_and_reuse(vary, name, changed):
    base, varied = vary(name)
    backbone = base['model']['backbone']
    (backbone if name == 'unmasked' else backbone['masking']).update(changed)
    assert varied == base


def test_plain_is_the_network_inside(vary):
    base, varied = vary('plain')
    base['model']['backbone'] = base['model']['backbone']['backbone']
    assert varied == base and 'MaskAny' not in str(varied['model'])
    assert varied == Config.fromfile(DIGITS.with_name('resnet18-narrow_1xb32-coslr-8e_digits.py')).to_dict()
    with pytest.raises(ValueError, match=r'inside MaskAny, but .*maskany_r50_in1k.py has a mmmaskany.MaskResNet of'):
        vary('plain', ENTRY)


def test_plain_keeps_the_weights(vary, tiny_config):
    start = dict(type='Pretrained', checkpoint='a.pth')
    _, varied = vary('plain', tiny_config(model=dict(backbone=dict(init_cfg=start))))
    assert varied['model']['backbone'] == dict(
        type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4, init_cfg=start
    )


@pytest.mark.parametrize(
    ('name', 'kind', 'index'), [('grid', 'Grid', 0), ('patch', 'Patch', 1), ('random', 'Random', 2)]
)
def test_one_pattern_masks_as_many_images_as_the_mixture(vary, tiny_config, name, kind, index):
    base, varied = vary(name)
    mixture = base['model']['backbone']['masking']['pattern']
    assert mixture['patterns'][index]['type'] == f'mmmaskany.{kind}Pattern'
    assert sum(mixture['probs']) == pytest.approx(0.4)
    mixture.update(patterns=[mixture['patterns'][index]], probs=[0.4])
    assert varied == base
    with pytest.raises(ValueError, match=f'must mix patterns, one of them a {kind}Pattern, but has mmmaskany.Rando'):
        vary(name, tiny_config())


def test_early_masks_end_after_two_thirds(vary, tiny_config):
    base, varied = vary('early')
    assert varied == base | dict(custom_hooks=[dict(type='mmmaskany.MaskScheduleHook', samples=(0.0, 0.0), begin=5)])
    hook = dict(type='mmmaskany.MaskScheduleHook', samples=(0.0, 0.0), begin=20, by_epoch=False)
    _, varied = vary('early', tiny_config(train_cfg=dict(max_iters=30, max_epochs=None)))
    assert varied['custom_hooks'] == [dict(type='EMAHook', momentum=0.1), hook]
    with pytest.raises(ValueError, match='early variant needs at least 2 epochs, but .*tiny.py has 1'):
        vary('early', tiny_config(train_cfg=dict(max_epochs=1)))


def test_pipeline_moves_the_masks_before_all_other_steps(vary, tiny_config):
    crop, pack = dict(type='RandomCrop', crop_size=16), dict(type='PackInputs')
    load = dict(type='LoadImageFromFile')
    masks = dict(type='mmmaskany.MaskRegions', pattern=dict(type='mmmaskany.RandomPattern', scale=0.5, cell=4, base=1))
    ours = dict(type='mmmaskany.PackMaskAnyInputs')
    for steps, expected, rgb in (
        ([load, crop, pack], [load, masks, crop, dict(type='mmmaskany.AugmentReused', policy='imagenet'), ours], True),
        ([crop, pack], [masks, crop, dict(type='mmmaskany.AugmentReused', policy='imagenet', bgr=False), ours], False),
    ):
        _, varied = vary('pipeline', tiny_config(train_pipeline=steps, data_preprocessor=dict(to_rgb=rgb)))
        assert varied['train_pipeline'] == varied['train_dataloader']['dataset']['pipeline'] == expected
        assert varied['model']['backbone']['masking'] is None
        # CutMix does not go with pairs.
        assert varied['model']['train_cfg']['augments'] == [dict(type='Mixup', alpha=0.8)]
        assert varied['data_preprocessor']['type'] == 'mmmaskany.MaskAnyDataPreprocessor'
    with pytest.raises(ValueError, match='needs a train_pipeline at the top of .*tiny.py, but there is none'):
        vary('pipeline', tiny_config())


@pytest.mark.parametrize('name', RULES)
def test_what_does_not_mask_has_no_variants(vary, name):
    config = DIGITS.with_name('resnet18-narrow_1xb32-coslr-8e_digits.py')
    with pytest.raises(ValueError, match='must mask in the model, with model.backbone.masking, but does not'):
        vary(name, config)


def test_unknown_variants_are_refused(tmp_path):
    with pytest.raises(KeyError, match="one of maskany, plain, .*, pipeline, but got 'reuse'"):
        variant_text('reuse', DIGITS, tmp_path)


def test_a_config_of_other_runs_is_not_written_over(tmp_path):
    path = keep_config(tmp_path / 'configs/a.py', 'a = 1\n')
    assert keep_config(path, 'a = 1\n').read_text() == 'a = 1\n'
    with pytest.raises(ValueError, match=re.escape(f'{path} must be what this command trains, but is another')):
        keep_config(path, 'a = 2\n')
