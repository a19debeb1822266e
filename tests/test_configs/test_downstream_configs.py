# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped detection and segmentation configs: names, twins, and that a host's recipe stays the host's."""

import functools
import re
from pathlib import Path

import pytest
import torch
from differences import differences
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

ROOT = Path(__file__).parents[2] / 'configs'
# The entry configs' names are promised, and stand for longer ones.
ENTRIES = {
    ROOT / 'maskany_r50_mask-rcnn_coco.py': ROOT / 'detection/mask-rcnn_maskresnet50_fpn_1x_coco.py',
    ROOT / 'maskany_r50_upernet_ade20k.py': ROOT / 'segmentation/maskresnet50_upernet_8xb2-160k_ade20k-512x512.py',
}
CONFIGS = [*ENTRIES, *sorted((ROOT / 'detection').glob('*.py')), *sorted((ROOT / 'segmentation').glob('*.py'))]
NETWORK = (
    r'(?P<kind>maskany-r|maskresnet|r)(?P<depth>\d+)(?P<width>-narrow)?(?P<stride>-d8)?'
    r'(?P<variant>-masked|-late)?(?P<scratch>-scratch)?'
)
NAMES = {
    'detection': re.compile(
        rf'(?P<method>[a-z\d-]+)_{NETWORK}(_fpn)?_(?P<training>(?P<epochs>\d+)[xe]|\d+xb\d+-(?P<batch_epochs>\d+)e)'
        r'_(?P<data>[a-z\d-]+)'
    ),
    'segmentation': re.compile(
        rf'{NETWORK}_(?P<method>[a-z\d-]+)_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<iterations>\d+k?)'
        r'_(?P<data>[a-z\d]+)-(?P<height>\d+)x(?P<width_px>\d+)'
    ),
}
# mmdet's and mmseg's own configs, whose recipes the plain twins have.
HOSTS = {
    'faster-rcnn_r50_fpn_1x_coco': 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask-rcnn_r50_fpn_1x_coco': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade-mask-rcnn_r50_fpn_1x_coco': 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    'retinanet_r50_fpn_1x_coco': 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'dino-4scale_r50_8xb2-12e_coco': 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
    'r50_upernet_8xb2-160k_ade20k-512x512': 'mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
    'r50_sem-fpn_8xb2-160k_ade20k-512x512': 'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py',
    'r50-d8_deeplabv3plus_8xb2-160k_ade20k-512x512': (
        'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py'
    ),
    'r50_mask2former_8xb2-160k_ade20k-512x512': 'mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py',
}
ids = dict(ids=lambda path: path.stem)


def full_name(path: Path) -> Path:
    return ENTRIES.get(path, path)


def task(path: Path) -> str:
    return full_name(path).parent.name


def parts(path: Path) -> dict:
    """Split the name of a config."""
    match = NAMES[task(path)].fullmatch(full_name(path).stem)
    assert match, f'{full_name(path).stem} does not follow the naming rule'
    return match.groupdict()


def sibling(path: Path, kind: str | None = None, **changes: str) -> Path:
    """Name the config that differs from another one in these parts of its name."""
    name, stem = full_name(path), full_name(path).stem
    was = parts(path)
    network = ''.join(was[key] or '' for key in ('kind', 'depth', 'width', 'stride', 'variant', 'scratch'))
    now = {**was, 'kind': kind or was['kind'], **changes}
    other = ''.join(now[key] or '' for key in ('kind', 'depth', 'width', 'stride', 'variant', 'scratch'))
    before = '_' if task(path) == 'detection' else ''
    assert stem.count(f'{before}{network}_') == 1
    found = name.with_stem(stem.replace(f'{before}{network}_', f'{before}{other}_'))
    return next((entry for entry, long in ENTRIES.items() if long == found), found)


@functools.cache
def load(path: Path) -> Config:
    """Load a config, which is slow; the tests read it only."""
    return Config.fromfile(path)


@functools.cache
def tree(path: Path) -> dict:
    return load(path).to_dict()


MASKANY = [path for path in CONFIGS if parts(path)['kind'] != 'r']
SAME_NETWORK = [path for path in MASKANY if not parts(path)['variant']]


def test_promised_methods_come_in_three_arms():
    for stem, host in HOSTS.items():
        (plain,) = ROOT.glob(f'*/{stem}.py')
        assert host.startswith(dict(detection='mmdet::', segmentation='mmseg::')[task(plain)])
        for kind in ('r', 'maskany-r', 'maskresnet'):
            assert sibling(plain, kind).is_file()


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_name_tells_the_recipe(path):
    name, cfg = parts(path), load(path)
    if task(path) == 'detection':
        assert cfg.default_scope == 'mmdet'
        epochs = name['epochs'] or name['batch_epochs']
        assert cfg.train_cfg.max_epochs == (12 * int(epochs) if name['training'].endswith('x') else int(epochs))
        if name['data'] == 'coco':
            assert cfg.auto_scale_lr.base_batch_size == 8 * cfg.train_dataloader.batch_size == 16
    else:
        assert cfg.default_scope == 'mmseg'
        iterations = name['iterations']
        assert cfg.train_cfg.max_iters == (1000 * int(iterations[:-1]) if iterations.endswith('k') else int(iterations))
        assert cfg.train_dataloader.batch_size == int(name['batch'])
        assert cfg.auto_scale_lr.base_batch_size == int(name['gpus']) * int(name['batch'])
        assert cfg.model.data_preprocessor.size == (int(name['height']), int(name['width_px']))
        if name['data'] == 'ade20k':
            heads = [cfg.model.decode_head, cfg.model.get('auxiliary_head')]
            assert {head.num_classes for head in heads if head} == {150}
    host = cfg.model.backbone.get('backbone', cfg.model.backbone)
    assert host.depth == int(name['depth'])
    assert bool(name['stride']) == (host.get('strides') == (1, 2, 1, 1) and host.dilations == (1, 1, 2, 4))
    types = {'maskany-r': 'mmmaskany.MaskAny', 'maskresnet': 'mmmaskany.MaskResNet'}
    assert cfg.model.backbone.type == types.get(name['kind'], host.type)
    assert (name['variant'] == '-masked') == ('masking' in cfg.model.backbone)
    assert (name['variant'] == '-late') == (cfg.model.backbone.get('fuse_at') == 'neck')


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_runtime(path):
    cfg = load(path)
    assert 'mmmaskany' in cfg.custom_imports.imports and cfg.custom_imports.allow_failed_imports is False
    assert cfg.default_hooks.checkpoint.type == 'mmmaskany.AtomicCheckpointHook'
    assert cfg.default_hooks.checkpoint.max_keep_ckpts >= 2
    assert cfg.randomness.seed is not None


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_starts_from_a_classifier_trained_here(path):
    cfg, name = load(path), parts(path)
    init_cfg = cfg.model.backbone.get('init_cfg')
    if name['scratch']:
        assert init_cfg is None
        return
    assert init_cfg.type == 'Pretrained' and init_cfg.prefix == 'backbone.'
    file = Path(init_cfg.checkpoint)
    (source,) = ROOT.rglob(f'{file.parent.name}.py')  # where tools/train.py writes what this config trains
    classifier = load(source)
    assert file.name == f'epoch_{classifier.train_cfg.max_epochs}.pth'
    # Twins start from twins. A network that is fused late has no second stem, so it starts from the plain one.
    own, other = cfg.model.backbone, classifier.model.backbone
    plain = name['kind'] == 'r' or name['variant'] == '-late'
    assert other.type.startswith('mmpretrain.ResNet') if plain else other.type == own.type
    assert other.get('backbone', other).depth == int(name['depth'])
    if name['data'] in ('coco', 'ade20k'):
        assert classifier.model.head.num_classes == 1000


@pytest.mark.parametrize('stem', HOSTS)
def test_plain_twin_has_the_recipe_of_the_host(stem):
    (path,) = ROOT.glob(f'*/{stem}.py')
    allowed = {
        'custom_imports',
        'default_hooks.checkpoint.max_keep_ckpts',
        'default_hooks.checkpoint.type',
        'model.backbone.init_cfg.checkpoint',
        'model.backbone.init_cfg.prefix',
        'pretrained',  # where it starts from, for the file and its heirs to choose from
        'randomness',
    }
    if task(path) == 'segmentation':
        # The same 16 images a step on twice as many GPUs, and the stem that was trained on ImageNet here.
        allowed |= {
            'auto_scale_lr',
            'custom_imports.imports',
            'model.backbone.init_cfg',
            'model.backbone.type',
            'model.pretrained',
            'train_dataloader.batch_size',
        }
    host = Config.fromstring(f'_base_ = {HOSTS[stem]!r}', '.py').to_dict()
    assert differences(tree(path), host) <= allowed
    assert tree(path)['model']['backbone']['type'] == 'ResNet'


@pytest.mark.parametrize('path', MASKANY, **ids)
def test_twins_differ_in_the_backbone_alone(path):
    cfg, name = tree(path), parts(path)
    plain = tree(sibling(path, 'r', variant=''))
    changed = differences(cfg, plain)
    also = {'-late': ('model.neck',), '-masked': ('black', 'in1k_masking')}  # of the masking: only names in the file
    allowed = ('model.backbone.', *also.get(name['variant'], ()))
    assert {key for key in changed if not key.startswith(allowed)} == set()

    own, other = cfg['model']['backbone'], dict(plain['model']['backbone'])
    other.pop('init_cfg', None)
    if name['kind'] == 'maskresnet':
        own = {key: value for key, value in own.items() if key != 'init_cfg'}
        assert other.pop('deep_stem', False) is False  # no argument of MaskResNet
        assert own == {**other, 'type': 'mmmaskany.MaskResNet'}
    else:
        inner = {key: value for key, value in own['backbone'].items() if key != 'init_cfg'}
        if name['variant'] == '-masked':
            inner.pop('frozen_stages', None), other.pop('frozen_stages', None)
        host = cfg['default_scope']
        assert inner == {**other, 'type': other['type'] if '.' in other['type'] else f'{host}.{other["type"]}'}
        assert not own['backbone'].get('init_cfg')


@pytest.mark.parametrize('path', [path for path in CONFIGS if parts(path)['variant'] == '-masked'], **ids)
def test_masked_variant_masks_as_in_pre_training(path):
    cfg, unmasked = tree(path), tree(sibling(path, variant=''))
    # mmdet's recipes freeze the stem, mmseg's do not.
    frozen = {'model.backbone.backbone.frozen_stages'} if task(path) == 'detection' else set()
    assert differences(cfg, unmasked) == {'black', 'in1k_masking', 'model.backbone.masking'} | frozen
    assert cfg['model']['backbone']['backbone'].get('frozen_stages', -1) == -1
    masking = cfg['model']['backbone']['masking']
    assert masking == tree(ROOT / 'maskany_r50_in1k.py')['model']['backbone']['masking']
    # Black before normalising.
    init_default_scope(cfg['default_scope'])
    preprocessor = MODELS.build(cfg['model']['data_preprocessor'])
    black = preprocessor(dict(inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)]))['inputs'][0, :, 0, 0]
    torch.testing.assert_close(torch.tensor(masking['fill']['value']), black)


@pytest.mark.parametrize('path', [path for path in CONFIGS if parts(path)['variant'] == '-late'], **ids)
def test_late_variant_fuses_in_front_of_the_neck(path):
    cfg, early = tree(path), tree(sibling(path, variant=''))
    changed = {key for key in differences(cfg, early) if not key.startswith('model.neck')}
    assert changed == {'model.backbone.fuse_at', 'model.backbone.init_cfg.checkpoint'}
    neck = cfg['model']['neck']
    assert neck['type'] == 'mmmaskany.MaskAnyNeck' and list(neck['in_channels']) == [256, 512, 1024, 2048]
    inner, was = neck.get('neck'), early['model'].get('neck')
    assert inner == (was and {**was, 'type': f'{cfg["default_scope"]}.{was["type"]}'})
