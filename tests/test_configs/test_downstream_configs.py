# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped detection and segmentation configs: names, twins, and that a library's recipe stays the library's."""

import re
from pathlib import Path

import pytest
import torch
from differences import differences
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT as REPOSITORY
from shipped import load, tree

from mmmaskany.engine.checks.config import check_config

ROOT = REPOSITORY / 'configs'
# The entry configs' names are promised, and stand for longer ones.
ENTRIES = {
    ROOT / 'maskany_r50_mask-rcnn_coco.py': ROOT / 'detection/mask-rcnn_maskresnet50_fpn_1x_coco.py',
    ROOT / 'maskany_r50_upernet_ade20k.py': ROOT / 'segmentation/maskresnet50_upernet_8xb2-160k_ade20k-512x512.py',
}
CONFIGS = [*ENTRIES, *sorted((ROOT / 'detection').glob('*.py')), *sorted((ROOT / 'segmentation').glob('*.py'))]
NETWORK = (
    r'(?P<kind>maskany-|mask|)(?P<host>(r|(?<=mask)resnet)(?P<depth>\d+)|swin-tiny|convnext-tiny|vit-base-p16)'
    r'(?P<width>-narrow)?(?P<stride>-d8)?(?P<variant>-masked|-late|-ignore|-objects|-hidden)?(?P<scratch>-scratch)?'
)
NAMES = {
    'detection': re.compile(
        rf'(?P<method>[a-z\d-]+)_{NETWORK}(_fpn)?_(?P<training>(ms-crop-)?(?P<epochs>\d+)[xe]|\d+xb\d+-(?P<batch_epochs>\d+)e)'
        r'_(?P<data>[a-z\d-]+)'
    ),
    'segmentation': re.compile(
        rf'{NETWORK}_(?P<method>[a-z\d-]+)_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<iterations>\d+k?)'
        r'_(?P<data>[a-z\d]+)-(?P<height>\d+)x(?P<width_px>\d+)'
    ),
}
# mmdet's and mmseg's own configs, whose recipes the plain twins have.
RECIPES = {
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
    'mask-rcnn_swin-tiny_fpn_1x_coco': 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
    'mask-rcnn_convnext-tiny_fpn_ms-crop-3x_coco': (
        'mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
    ),
    'mask-rcnn_vit-base-p16_fpn_1x_coco': 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
    'swin-tiny_upernet_8xb2-160k_ade20k-512x512': (
        'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'
    ),
    'convnext-tiny_upernet_8xb2-160k_ade20k-512x512': (
        'mmseg::convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py'
    ),
    'vit-base-p16_upernet_8xb2-160k_ade20k-512x512': (
        'mmseg::vit/vit_vit-b16-ln_mln_upernet_8xb2-160k_ade20k-512x512.py'
    ),
}
# What their backbones are, where they are not ResNets: the library's arguments under mmpretrain's names.
LEVELS = dict(out_indices=(0, 1, 2, 3))
SWIN = dict(type='mmpretrain.SwinTransformer', arch='tiny', pad_small_map=True, **LEVELS)
VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch='base',
    patch_size=16,
    drop_path_rate=0.1,
    out_indices=(2, 5, 8, 11),
    out_type='featmap',
)
BACKBONES = {
    'mask-rcnn_swin-tiny_fpn_1x_coco': dict(drop_path_rate=0.2, **SWIN),
    'swin-tiny_upernet_8xb2-160k_ade20k-512x512': dict(drop_path_rate=0.3, **SWIN),
    'mask-rcnn_vit-base-p16_fpn_1x_coco': dict(img_size=224, **VIT),
    'vit-base-p16_upernet_8xb2-160k_ade20k-512x512': dict(img_size=512, **VIT),
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


def network(name: dict) -> str:
    """Spell the network of a config; only in the paper's does a ResNet have its full name."""
    if name['depth']:
        name = {**name, 'host': ('resnet' if name['kind'] == 'mask' else 'r') + name['depth']}
    return ''.join(name[key] or '' for key in ('kind', 'host', 'width', 'stride', 'variant', 'scratch'))


def sibling(path: Path, **changes: str) -> Path:
    """Name the config that differs from another one in these parts of its name."""
    was, stem = parts(path), full_name(path).stem
    before = '_' if task(path) == 'detection' else ''
    assert stem.count(f'{before}{network(was)}_') == 1
    other = network({**was, **changes})
    found = full_name(path).with_stem(stem.replace(f'{before}{network(was)}_', f'{before}{other}_'))
    return next((entry for entry, long in ENTRIES.items() if long == found), found)


MASKANY = [path for path in CONFIGS if parts(path)['kind']]
SAME_NETWORK = [path for path in MASKANY if not parts(path)['variant']]


def test_methods_come_in_all_variants():
    for stem, recipe in RECIPES.items():
        (plain,) = ROOT.glob(f'*/{stem}.py')
        assert recipe.startswith(dict(detection='mmdet::', segmentation='mmseg::')[task(plain)])
        variants = ['', 'maskany-', 'mask']
        if re.search('convnext|vit', stem):
            variants.remove('mask')
        for kind in variants:
            assert sibling(plain, kind=kind).is_file()


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
    if name['depth']:
        assert host.depth == int(name['depth'])
    assert bool(name['stride']) == (host.get('strides') == (1, 2, 1, 1) and host.dilations == (1, 1, 2, 4))
    paper = 'mmmaskany.MaskResNet' if name['depth'] else 'mmmaskany.MaskSwinTransformer'
    assert cfg.model.backbone.type == {'maskany-': 'mmmaskany.MaskAny', 'mask': paper, '': host.type}[name['kind']]
    assert (name['variant'] == '-masked') == ('masking' in cfg.model.backbone)
    assert (name['variant'] == '-late') == (cfg.model.backbone.get('fuse_at') == 'levels')


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_runtime(path):
    cfg = load(path)
    check_config(cfg)
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
    plain = not name['kind'] or name['variant'] == '-late'
    assert other.type.startswith('mmmaskany.') != plain and (plain or other.type == own.type)
    own, other = own.get('backbone', own), other.get('backbone', other)
    kinds = [re.sub(r'^(mmpretrain|mmdet|mmseg)\.', '', backbone.type) for backbone in (own, other)]
    assert kinds[0] == kinds[1]
    key, value = ('depth', int(name['depth'])) if name['depth'] else ('arch', own.get('arch'))
    assert other[key] == own[key] == value
    if name['data'] in ('coco', 'ade20k'):
        assert classifier.model.head.num_classes == 1000


@pytest.mark.parametrize('stem', RECIPES)
def test_plain_twin_has_the_recipe_of_the_library(stem):
    (path,) = ROOT.glob(f'*/{stem}.py')
    allowed = {
        'classifiers',
        'custom_imports',
        'custom_imports.imports',
        'default_hooks.checkpoint.max_keep_ckpts',
        'default_hooks.checkpoint.type',
        'model.backbone.init_cfg.checkpoint',
        'model.backbone.init_cfg.prefix',
        'pretrained',  # where it starts from, for the file and its heirs to choose from
        'randomness',
    }
    if task(path) == 'segmentation':
        # The same 16 images a step, where the library's are spread over half as many GPUs.
        allowed |= {'auto_scale_lr', 'train_dataloader.batch_size'}
    own, theirs = tree(path), tree(RECIPES[stem])
    changed = differences(own, theirs) - allowed
    if parts(path)['depth']:
        if task(path) == 'segmentation':  # the stem that was trained on ImageNet here
            changed -= {'model.backbone.init_cfg', 'model.backbone.type', 'model.pretrained'}
        assert own['model']['backbone']['type'] == 'ResNet'
    elif stem in BACKBONES:
        backbone = {key: value for key, value in own['model']['backbone'].items() if key != 'init_cfg'}
        assert backbone == BACKBONES[stem]
        changed = {key for key in changed - {'model.pretrained'} if not key.startswith('model.backbone.')}
    if 'convnext' in stem:  # mixed precision is left to --amp
        changed -= {'optim_wrapper.type', 'optim_wrapper.loss_scale'}
        assert own['optim_wrapper']['type'] == 'OptimWrapper'
    if 'vit' in stem and task(path) == 'detection':
        # Of a recipe for Swin: other levels, and other parameters without decay.
        changed -= {'model.neck'}
        changed = {key for key in changed if not key.startswith('optim_wrapper.paramwise_cfg.')}
    assert changed == set()


@pytest.mark.parametrize('path', MASKANY, **ids)
def test_twins_differ_in_the_backbone_alone(path):
    cfg, name = tree(path), parts(path)
    plain = tree(sibling(path, kind='', variant=''))
    changed = differences(cfg, plain)
    also = {'-masked': ('black', 'in1k_masking')}  # of the masking: only names in the file
    allowed = ('model.backbone.', *also.get(name['variant'], ()))
    assert {key for key in changed if not key.startswith(allowed)} == set()

    own, other = cfg['model']['backbone'], dict(plain['model']['backbone'])
    other.pop('init_cfg', None)
    if name['kind'] == 'mask':
        own = {key: value for key, value in own.items() if key != 'init_cfg'}
        assert other.pop('deep_stem', False) is False  # no argument of MaskResNet
        assert own == {**other, 'type': f'mmmaskany.Mask{other["type"].removeprefix("mmpretrain.")}'}
    else:
        inner = {key: value for key, value in own['backbone'].items() if key != 'init_cfg'}
        if name['variant'] == '-masked':
            inner.pop('frozen_stages', None), other.pop('frozen_stages', None)
        library = cfg['default_scope']
        assert inner == {**other, 'type': other['type'] if '.' in other['type'] else f'{library}.{other["type"]}'}
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
def test_late_variant_changes_where_the_images_are_fused_alone(path):
    changed = differences(tree(path), tree(sibling(path, variant='')))
    assert changed == {'model.backbone.fuse_at', 'model.backbone.init_cfg.checkpoint'}


@pytest.mark.parametrize('path', [path for path in CONFIGS if parts(path)['variant'] in ('-ignore', '-objects')], **ids)
def test_variants_that_mind_objects_change_nothing_else(path):
    cfg, plain = tree(path), tree(sibling(path, variant=''))
    changed = differences(cfg, plain)
    minding = {f'model.train_cfg.{part}.assigner.ignore_iof_thr' for part in ('rpn', 'rcnn')}
    own = {'model.type', 'model.host', 'model.masking', 'model.objects'}
    assert changed == own | (minding if parts(path)['variant'] == '-ignore' else set())
    assert cfg['model']['host'] == f'mmdet.{plain["model"]["type"]}'


@pytest.mark.parametrize('path', [path for path in CONFIGS if parts(path)['variant'] == '-hidden'], **ids)
def test_variants_that_weigh_hidden_pixels_change_nothing_else(path):
    changed = differences(tree(path), tree(sibling(path, variant='')))
    assert changed == {'model.type', 'model.masking', 'model.hidden_weight'}
