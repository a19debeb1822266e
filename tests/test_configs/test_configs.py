# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped classification configs: names, twins, and a training and a test step of each through its own pipeline."""

import copy
import math
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from differences import differences
from mmengine.dataset import Compose
from mmengine.dataset.utils import default_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT, load, pipeline_of, shrink, stems, tree

from mmmaskany.engine.checks.config import check_config
from mmmaskany.models.masking import build_pattern

ENTRY = ROOT / 'configs/maskany_r50_in1k.py'
CONFIGS = [ENTRY, *sorted((ROOT / 'configs/maskany').glob('*.py'))]
NAME = re.compile(
    r'(?P<method>maskany_)?(?P<network>(?P<mask>mask)?(?P<host>resnet\d+(-narrow)?|swin-(tiny|small|base)|vit-base-p16'
    r'|deit3-small-p16|convnext-tiny|efficientnetv2-s))'
    r'(?P<arm>-unmasked|-noreuse|-pipeline|-patch|-grid|-random)?(_(?P<pretrain>\w+)-pre)?'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-coslr-(?P<epochs>\d+)e'
    r'_(?P<data>in1k|cifar10|cifar10-folders|cifar10-10k|cifar100|tiny-imagenet|cub-448px|digits)'
)
CLASSES = {'in1k': 1000, 'cifar100': 100, 'tiny-imagenet': 200, 'cub-448px': 200}
CROPS = {'in1k': 224, 'tiny-imagenet': 64, 'cub-448px': 448}
LARGER = {'in1k': 300, 'cifar100': 128, 'tiny-imagenet': 128}  # EfficientNetV2 has a stride of 32
# mmpretrain's own configs, whose recipes the plain twins have.
HOSTS = {
    'swin-tiny': 'swin_transformer/swin-tiny_16xb64_in1k.py',
    'swin-small': 'swin_transformer/swin-small_16xb64_in1k.py',
    'swin-base': 'swin_transformer/swin-base_16xb64_in1k.py',
    'vit-base-p16': 'deit/deit-base_16xb64_in1k.py',
    'deit3-small-p16': 'deit3/deit3-small-p16_64xb64_in1k.py',
    'convnext-tiny': 'convnext/convnext-tiny_32xb128_in1k.py',
    'efficientnetv2-s': 'efficientnet_v2/efficientnetv2-s_8xb32_in1k-384px.py',
}
PATTERNS = [path for path in CONFIGS if re.search('-(patch|grid|random)_', path.stem)]
METHODS = [
    path
    for path in CONFIGS
    if path.stem.startswith('maskany_') and not re.search('-(unm|nor|pip)', path.stem) and path not in PATTERNS
]
ids = dict(ids=lambda path: path.stem)


def parts(path: Path) -> dict:
    """Split the name of a config; that of the entry config is promised, and stands for a longer one."""
    name = 'maskany_maskresnet50_8xb128-coslr-100e_in1k' if path == ENTRY else path.stem
    match = NAME.fullmatch(name)
    assert match, f'{name} does not follow the naming rule'
    return match.groupdict()


def side_of(name: dict) -> int:
    """Return the side of the images that a network trains on."""
    sides = LARGER if 'efficientnet' in name['host'] else CROPS
    return sides.get(name['data'], 32)


def rate_of(name: dict) -> float:
    """Return the learning rate that a recipe should have."""
    batch = int(name['gpus']) * int(name['batch'])
    if re.match('swin|vit|deit3|convnext', name['host']):  # linear in the batch on ImageNet, else its square root
        return 1e-3 * (batch / 1024) ** (1.0 if name['data'] == 'in1k' else 0.5)
    return {'in1k': 0.1 / 256, 'cub-448px': 0.01 / 64, 'digits': 0.1 / 32}.get(name['data'], 0.1 / 128) * batch


def twin(path: Path, arm: str) -> Path:
    """Name the twin of a method config."""
    name = parts(path)
    rest = '_'.join(path.stem.split('_')[2:]) if path != ENTRY else '8xb128-coslr-100e_in1k'
    stem = f'{name["host"]}_{rest}' if arm == 'plain' else f'maskany_{name["network"]}-{arm}_{rest}'
    return ROOT / 'configs/maskany' / f'{stem}.py'


def test_base_names_are_unique():
    names = Counter(path.stem for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_name_tells_the_recipe(path):
    name, cfg = parts(path), load(path)
    gpus, batch, epochs = (int(name[key]) for key in ('gpus', 'batch', 'epochs'))
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr.base_batch_size == gpus * batch and not cfg.auto_scale_lr.get('enable')
    assert cfg.train_cfg.max_epochs == epochs
    schedulers = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    cosine = schedulers[-1]
    assert cosine.type == 'CosineAnnealingLR'
    # A scheduler without an end goes on to that of the training.
    assert cosine.get('end', epochs) == cosine.begin + cosine.get('T_max', epochs - cosine.begin) == epochs
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == CLASSES.get(name['data'], 10)
    assert bool(name['pretrain']) == ('init_cfg' in str(cfg.model.backbone))
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate_of(name))


@pytest.mark.parametrize('host', HOSTS)
def test_plain_twin_has_the_recipe_of_the_host(host):
    (path,) = (ROOT / 'configs/maskany').glob(f'{host}_8xb128-*_in1k.py')
    own, theirs, entry = (tree(name) for name in (path, f'mmpretrain::{HOSTS[host]}', ENTRY))
    schedule = {'optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks'}
    if host == 'deit3-small-p16':  # its own schedule fine-tunes
        theirs = theirs | {key: tree('mmpretrain::deit/deit-small_4xb256_in1k.py').get(key) for key in schedule}
    elif host == 'efficientnetv2-s':  # its own schedule is that of mmpretrain's ResNets
        theirs = theirs | {key: entry.get(key) for key in schedule}
    changed = differences({key: own.get(key) for key in theirs}, theirs)
    # The batch, how images are loaded, names in the file, and what is run around the training.
    around = r'(custom_imports|default_hooks|env_cfg|randomness|vis_backends|visualizer|auto_scale_lr|\w+_pipeline)\b'
    loading = r'\w+_dataloader\.(batch_size|collate_fn|num_workers|persistent_workers|pin_memory)'
    changed = {key for key in changed if not re.match(f'{around}|{loading}', key)}
    if host == 'convnext-tiny':  # a quarter of the images a step
        assert own['custom_hooks'] == [dict(theirs['custom_hooks'][0], momentum=1e-4 / 4)]
        changed -= {'optim_wrapper.optimizer.lr', 'custom_hooks', 'optim_wrapper.clip_grad'}
    elif host == 'deit3-small-p16':  # mmpretrain's computes another function
        assert own['model']['backbone']['type'] == 'mmmaskany.DeiT3'
        changed -= {'model.backbone.type'}
    elif host == 'vit-base-p16':  # the same by another name
        changed -= {'model.backbone.arch'}
    assert changed == set()


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_runtime(path):
    cfg = load(path)
    check_config(cfg)
    assert cfg.default_scope == 'mmpretrain'
    assert cfg.custom_imports == dict(imports=['mmmaskany'], allow_failed_imports=False)
    assert cfg.default_hooks.checkpoint.type == 'mmmaskany.AtomicCheckpointHook'
    assert cfg.randomness.seed is not None
    assert cfg.tta_model.type == 'AverageClsScoreTTA'
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].collate_fn == dict(type='default_collate')


@pytest.mark.parametrize('path', METHODS + PATTERNS, **ids)
def test_masks_cover_the_image_and_are_black(path):
    cfg = load(path)
    masking, side = cfg.model.backbone.masking, side_of(parts(path))
    pattern = build_pattern(masking.pattern)
    assert pattern.scale == 0.5
    for part in pattern.patterns:
        # With no pixel left over, each sample is masked by exactly a quarter, whatever cell size it draws.
        assert part.draw(64, side, side, torch.Generator().manual_seed(0)).ratio.unique().tolist() == [0.25]
        assert all(side % cell == 0 for cell in part.cell)
    init_default_scope('mmpretrain')
    preprocessor = MODELS.build(dict(type='ClsDataPreprocessor', **copy.deepcopy(cfg.data_preprocessor)))
    black = preprocessor(dict(inputs=torch.zeros(1, 3, 1, 1, dtype=torch.uint8)))['inputs'].flatten()
    torch.testing.assert_close(torch.tensor(masking.fill.value), black)


def test_mixtures_are_those_of_the_reference():
    def mixture(path):
        """Read the probabilities, and the cells in pixels of the images as they are stored."""
        pattern, name = load(path).model.backbone.masking.pattern, parts(path)
        shrunk = side_of(name) / CROPS.get(name['data'], 32) if name['data'] != 'in1k' else 1
        return {
            p.type.removeprefix('mmmaskany.'): (prob, [cell / shrunk for cell in p.get('cell', [])])
            for p, prob in zip(pattern.patterns, pattern.probs, strict=True)
        }

    cells = [4, 8, 16]
    expected = {
        'in1k': dict(GridPattern=(0.2, cells)),
        'cifar100': dict(GridPattern=(0.1, cells), PatchPattern=(0.3, [])),
        'tiny-imagenet': dict(GridPattern=(0.1, cells), PatchPattern=(0.2, []), RandomPattern=(0.1, cells[::-1])),
    }
    for path in METHODS:
        data = parts(path)['data']
        if data == 'in1k' and 'efficientnet' in path.stem:  # 300 px
            assert mixture(path) == dict(GridPattern=(0.2, [5, 10, 15]))
        elif data in expected:
            assert mixture(path) == expected[data]


@pytest.mark.parametrize('path', METHODS, **ids)
def test_twins_change_one_thing(path):
    cfg = tree(path)
    unmasked, noreuse, plain = (tree(twin(path, arm)) for arm in ('unmasked', 'noreuse', 'plain'))
    assert differences(cfg, unmasked) == {'model.backbone.masking'}
    assert unmasked['model']['backbone']['masking'] is None
    assert differences(cfg, noreuse) == {'model.backbone.masking.reuse'}
    assert noreuse['model']['backbone']['masking']['reuse'] is False
    own = cfg['model']['backbone']
    host = own.get('backbone') or {key: value for key, value in own.items() if key != 'masking'}
    kind = re.sub(r'^(mmpretrain\.|mmmaskany\.Mask)', '', host['type'])
    expected = plain['model']['backbone']
    assert {**expected, 'type': expected['type'].removeprefix('mmpretrain.')} == {**host, 'type': kind}
    # Of the masking there are only names in the file.
    changed = {key for key in differences(cfg, plain) if not key.startswith('model.backbone.')}
    assert changed <= {'in1k_masking', 'cifar100_masking', 'tiny_imagenet_masking'}


@pytest.mark.parametrize('path', PATTERNS, **ids)
def test_one_pattern_masks_as_many_images_as_the_mixture(path):
    arm = parts(path)['arm']
    cfg, mixed = tree(path), tree(path.with_name(path.name.replace(arm, '')))
    masks = 'model.backbone.masking.pattern'
    assert differences(cfg, mixed) == {f'{masks}.patterns', f'{masks}.probs'}
    ((only,), (prob,)) = (cfg['model']['backbone']['masking']['pattern'][key] for key in ('patterns', 'probs'))
    assert only['type'].lower() == f'mmmaskany.{arm[1:]}pattern'
    mixture = mixed['model']['backbone']['masking']['pattern']
    assert only in mixture['patterns'] and prob == pytest.approx(sum(mixture['probs']))


@pytest.mark.parametrize('path', [path for path in CONFIGS if '-pipeline' in path.stem], **ids)
def test_pipeline_twins_move_the_masks(path):
    stem = path.stem.replace('-pipeline', '')
    method = ENTRY if stem == 'maskany_maskresnet50_8xb128-coslr-100e_in1k' else path.with_name(f'{stem}.py')
    cfg, moved = tree(method), tree(path)
    changed = {re.sub(r'(\.dataset)+', '.dataset', key) for key in differences(cfg, moved)}
    assert changed == {
        'data_preprocessor.type',
        'model.backbone.masking',
        'train_dataloader.dataset.pipeline',
        'train_pipeline',
    }
    assert moved['model']['backbone']['masking'] is None
    steps = pipeline_of(moved['train_dataloader'])
    assert steps == moved['train_pipeline']
    kept = [step for step in steps if not step['type'].startswith('mmmaskany.')]
    assert kept == cfg['train_pipeline'][:-1]
    ours = [step for step in steps if step['type'].startswith('mmmaskany.')]
    assert [step['type'].removeprefix('mmmaskany.') for step in ours] == [
        'MaskRegions',
        'AugmentReused',
        'PackMaskAnyInputs',
    ]
    assert ours[0]['pattern'] == cfg['model']['backbone']['masking']['pattern']
    # AutoAugment has to know the order of the channels: images are BGR where the preprocessor turns them.
    assert ours[1].get('bgr', True) == cfg['data_preprocessor']['to_rgb']
    # Masks come before anything that changes the size.
    assert steps.index(ours[0]) == int(steps[0]['type'] == 'LoadImageFromFile')


def shrunk(pipeline: list, side: int) -> list:
    """Make a pipeline yield images of at most ``side`` pixels."""
    steps = []
    cropped = {'RandomCrop', 'CenterCrop'} & {step['type'] for step in pipeline[2:]}
    for step in pipeline:
        step = dict(step)
        if step['type'] in ('Resize', 'ResizeEdge') and cropped:
            step['scale'] = side + 8
        elif 'scale' in step:
            step['scale'] = side
        elif 'crop_size' in step:
            step['crop_size'] = min(side, step['crop_size'])
        steps.append(step)
    return steps


@pytest.fixture(scope='module')
def sample(tmp_path_factory):
    """Make what datasets hand to a pipeline."""
    folder = tmp_path_factory.mktemp('images')
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    for side in (32, 64, 96):
        cv2.imwrite(str(folder / f'{side}.png'), image[:side, :side])

    def make(pipeline: list, side: int, label: int) -> dict:
        if pipeline[0]['type'] == 'LoadImageFromFile':
            return dict(img_path=str(folder / f'{side}.png'), gt_label=label)
        return dict(img=image[:side, :side], gt_label=label)

    return make


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_trains_and_predicts(path, sample):
    cfg, name = load(path), parts(path)
    classes = CLASSES.get(name['data'], 10)
    stored, side = min(CROPS.get(name['data'], 32), 96), side_of(name)
    side = 64 if side > 128 else side
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    np.random.seed(0)  # mixup and CutMix
    model, _ = shrink(cfg.model.to_dict())
    model = MODELS.build(dict(model, data_preprocessor=copy.deepcopy(cfg.data_preprocessor.to_dict())))

    def batch(name):
        steps = shrunk(pipeline_of(cfg[f'{name}_dataloader']), side)
        run = Compose(steps)
        return default_collate([run(sample(steps, stored, label)) for label in (0, classes - 1)])

    model.train()
    data = model.data_preprocessor(batch('train'), training=True)
    if '-pipeline' in path.stem:
        assert [tuple(view.shape) for view in data['inputs'][:2]] == [(2, 3, side, side), (2, 3, side // 2, side // 2)]
    else:
        assert tuple(data['inputs'].shape) == (2, 3, side, side)
    losses = model(**data, mode='loss')
    assert losses.keys() == {'loss'} and math.isfinite(losses['loss'].item())
    losses['loss'].backward()
    assert len(stems(model.backbone)) == (2 if name['method'] else 1)
    for stem in stems(model.backbone):
        assert all(parameter.grad.any() for parameter in stem if parameter.ndim == 4)

    # The optimiser has every parameter, and both stems learn alike.
    groups = build_optim_wrapper(model, cfg.optim_wrapper.to_dict()).param_groups
    rates = {id(parameter): group['lr'] for group in groups for parameter in group['params']}
    assert rates.keys() >= {id(parameter) for parameter in model.parameters()}
    assert len({rates[id(parameter)] for stem in stems(model.backbone) for parameter in stem}) == 1

    model.eval()
    with torch.no_grad():
        predictions = model.test_step(batch('val'))
    scores = torch.stack([prediction.pred_score for prediction in predictions])
    assert scores.shape == (2, classes)
    torch.testing.assert_close(scores.sum(1), torch.ones(2))

    steps = shrunk(cfg.tta_pipeline, side)
    views = Compose(steps)(sample(steps, stored, 0))['inputs']
    assert len(views) > 1 and {tuple(view.shape) for view in views} == {(3, side, side)}
