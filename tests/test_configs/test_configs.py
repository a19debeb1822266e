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
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from PIL import Image
from shipped import ROOT, load, pipeline_of, shrink, stems, tree

from mmmaskany.engine.checks.config import check_config
from mmmaskany.masking import Views
from mmmaskany.models.algebra import build_pattern

ENTRY = ROOT / 'configs/maskany_r50_in1k.py'
CONFIGS = [ENTRY, *sorted((ROOT / 'configs/maskany').glob('*.py'))]
NAME = re.compile(
    r'(?P<method>maskany_)?(?P<network>(?P<mask>mask)?(?P<host>resnet\d+(-narrow)?|swin-(tiny|small|base)|vit-base-p16'
    r'|deit3-small-p16|convnext-tiny|efficientnetv2-s))'
    r'(?P<variant>-unmasked|-noreuse|-pipeline|-autoaugment|-patch|-grid|-random)?(_(?P<pretrain>\w+)-pre)?'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-coslr-(?P<epochs>\d+)e'
    r'_(?P<data>in1k|cifar10|cifar10-folders|cifar10-10k|cifar10-2k|(cifar100|tiny-imagenet)(-224px)?|cub-448px|digits)'
)
CLASSES = {
    'in1k': 1000,
    'cifar100': 100,
    'cifar100-224px': 100,
    'tiny-imagenet': 200,
    'tiny-imagenet-224px': 200,
    'cub-448px': 200,
}
CROPS = {'in1k': 224, 'tiny-imagenet': 64, 'cub-448px': 448}
STORED = {**CROPS, 'tiny-imagenet-224px': 64}
LARGER = {'in1k': 224, 'cifar100': 128, 'tiny-imagenet': 128}  # EfficientNetV2 has a stride of 32
# Of the paper's networks, where it is not that of the plain ones.
DROP_PATHS = {'maskvit-base-p16': 0.0, 'maskswin-tiny': 0.1}
ENLARGED = {'cifar100-224px': 224, 'tiny-imagenet-224px': 224}
# mmpretrain's own configs, whose recipes the plain twins have.
RECIPES = {
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
    if path.stem.startswith('maskany_') and not re.search('-(unm|nor|pip|aut)', path.stem) and path not in PATTERNS
]
# What the paper's code does on small images; its masks are those of the data pipeline.
REFERENCES = [path for path in CONFIGS if '-224px' in path.stem]
ids = dict(ids=lambda path: path.stem)


def parts(path: Path) -> dict:
    """Split the name of a config; that of the entry config is promised, and stands for a longer one."""
    name = 'maskany_maskresnet50_8xb128-coslr-100e_in1k' if path == ENTRY else path.stem
    match = NAME.fullmatch(name)
    assert match, f'{name} does not follow the naming rule'
    return match.groupdict()


def side_of(name: dict) -> int:
    """Return the side of the images that a network trains on."""
    sides = LARGER if 'efficientnet' in name['host'] else CROPS | ENLARGED
    return sides.get(name['data'], 32)


def rate_of(name: dict) -> float:
    """Return the learning rate that a recipe should have."""
    batch = int(name['gpus']) * int(name['batch'])
    if re.match('swin|vit|deit3|convnext', name['host']):  # linear in the batch on ImageNet, else its square root
        return 1e-3 * (batch / 1024) ** (1.0 if name['data'] == 'in1k' else 0.5)
    return {'in1k': 0.1 / 256, 'cub-448px': 0.01 / 64, 'digits': 0.1 / 32}.get(name['data'], 0.1 / 128) * batch


def twin(path: Path, variant: str) -> Path:
    """Name the twin of a method config."""
    name = parts(path)
    rest = '_'.join(path.stem.split('_')[2:]) if path != ENTRY else '8xb128-coslr-100e_in1k'
    stem = f'{name["host"]}_{rest}' if variant == 'plain' else f'maskany_{name["network"]}-{variant}_{rest}'
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


@pytest.mark.parametrize('host', RECIPES)
def test_plain_twin_has_the_recipe_of_mmpretrain(host):
    (path,) = (ROOT / 'configs/maskany').glob(f'{host}_8xb128-*_in1k.py')
    own, theirs, entry = (tree(name) for name in (path, f'mmpretrain::{RECIPES[host]}', ENTRY))
    schedule = {'optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks'}
    if host == 'deit3-small-p16':  # its own schedule fine-tunes
        theirs = theirs | {key: tree('mmpretrain::deit/deit-small_4xb256_in1k.py').get(key) for key in schedule}
    elif host == 'efficientnetv2-s':  # its own schedule is that of mmpretrain's ResNets, and the images are the paper's
        images = {'data_preprocessor', 'train_dataloader', 'val_dataloader', 'test_dataloader'}
        theirs = theirs | {key: entry.get(key) for key in schedule | images}
    changed = differences({key: own.get(key) for key in theirs}, theirs)
    # The batch, how images are loaded, names in the file, and what is run around the training.
    around = r'(custom_imports|default_hooks|env_cfg|randomness|vis_backends|visualizer|auto_scale_lr|\w+_pipeline)\b'
    loading = r'\w+_dataloader\.(batch_size|collate_fn|num_workers|persistent_workers|pin_memory)'
    changed = {key for key in changed if not re.match(f'{around}|{loading}', key)}
    if host == 'deit3-small-p16':  # mmpretrain's computes another function
        assert own['model']['backbone']['type'] == 'mmmaskany.DeiT3'
        changed -= {'model.backbone.type'}
    elif host == 'convnext-tiny':  # a quarter of the images a step
        assert own['custom_hooks'] == [dict(theirs['custom_hooks'][0], momentum=1e-4 / 4)]
        changed -= {'optim_wrapper.optimizer.lr', 'custom_hooks', 'optim_wrapper.clip_grad'}
    elif host == 'efficientnetv2-s':
        assert own['model']['backbone']['drop_path_rate'] == 0.2
        changed -= {'model.backbone.drop_path_rate'}
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
        if data in expected:
            assert mixture(path) == expected[data]


@pytest.mark.parametrize('path', METHODS, **ids)
def test_twins_are_there_and_the_plain_one_has_the_recipe(path):
    assert twin(path, 'unmasked').is_file() and twin(path, 'noreuse').is_file()  # made by a rule
    cfg, plain = tree(path), tree(twin(path, 'plain'))
    own = cfg['model']['backbone']
    host = own.get('backbone') or {key: value for key, value in own.items() if key != 'masking'}
    kind = re.sub(r'^(mmpretrain\.|mmmaskany\.Mask)', '', host['type'])
    expected = plain['model']['backbone']
    # What the paper's own networks have by themselves: their start values and drop path.
    if own['type'] == 'mmmaskany.MaskResNet':
        host = dict(host, zero_init_residual=False)
    rate = DROP_PATHS.get(parts(path)['network'], expected.get('drop_path_rate'))
    assert host.get('drop_path_rate') == rate
    expected = {key: value for key, value in expected.items() if key != 'drop_path_rate'}
    host = {key: value for key, value in host.items() if key != 'drop_path_rate'}
    assert {**expected, 'type': expected['type'].removeprefix('mmpretrain.')} == {**host, 'type': kind}
    # Of the masking there are only names in the file.
    changed = {key for key in differences(cfg, plain) if not key.startswith('model.backbone.')}
    head = {'model.head.init_cfg'} if 'maskvit' in path.stem else set()
    assert changed - head <= {'in1k_masking', 'cifar100_masking', 'tiny_imagenet_masking'}


PIPELINES = [path for path in CONFIGS if '-pipeline' in path.stem and path not in REFERENCES]


@pytest.mark.parametrize('path', PIPELINES, **ids)
def test_pipeline_twins_move_the_masks(path):
    stem = path.stem.replace('-pipeline', '')
    method = ENTRY if stem == 'maskany_maskresnet50_8xb128-coslr-100e_in1k' else path.with_name(f'{stem}.py')
    cfg, moved = tree(method), tree(path)
    changed = {re.sub(r'(\.dataset)+', '.dataset', key) for key in differences(cfg, moved)}
    expected = {
        'data_preprocessor.type',
        'model.backbone.masking',
        'train_dataloader.dataset.pipeline',
        'train_pipeline',
    }
    if re.search('swin|vit', path.stem):  # CutMix does not go with pairs
        expected.add('model.train_cfg.augments')
        assert [augment['type'] for augment in moved['model']['train_cfg']['augments']] == ['Mixup']
    changed -= {'reference_grid', 'reference_patterns'}  # names in the file
    assert changed == expected
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
    masks = cfg['model']['backbone']['masking']['pattern']
    if parts(path)['mask']:  # a network of the paper has the masks of its code
        check_reference_pattern(ours[0]['pattern'])
        assert [part['type'] for part in ours[0]['pattern']['patterns']] == [part['type'] for part in masks['patterns']]
        assert ours[0]['pattern']['probs'] == masks['probs']
    else:
        assert ours[0]['pattern'] == masks
    # AutoAugment has to know the order of the channels: images are BGR where the preprocessor turns them.
    assert ours[1].get('bgr', True) == cfg['data_preprocessor']['to_rgb']
    # Masks come before anything that changes the size.
    assert steps.index(ours[0]) == int(steps[0]['type'] == 'LoadImageFromFile')


def check_reference_pattern(pattern: dict) -> None:
    """Check a mixture for the grid of the paper's code: every side of 4 to 16 px, from the top left corner on."""
    grid, *others = pattern['patterns']
    assert grid == dict(type='mmmaskany.GridPattern', scale=0.5, cell=list(range(4, 17)), base=1, phase='fixed')
    assert all(part['base'] == 1 and part['scale'] == 0.5 for part in others)


def test_every_network_of_the_paper_has_the_data_pipeline():
    own = [path for path in METHODS if parts(path)['mask']]
    assert len(own) == 12 and [path.stem for path in own if not twin(path, 'pipeline').is_file()] == []


@pytest.mark.parametrize('data', ['cifar100', 'tiny-imagenet'])
@pytest.mark.parametrize('name', ['resnet{}', 'maskany_maskresnet{}-pipeline'])
def test_deeper_networks_on_small_images_change_the_depth_alone(name, data):
    paths = [f'configs/maskany/{name.format(depth)}_1xb128-coslr-300e_{data}-224px.py' for depth in (34, 101)]
    changed = differences(*(tree(ROOT / path) for path in paths))
    assert changed == {'model.backbone.depth', 'model.head.in_channels'}


@pytest.mark.parametrize('data', ['cifar100', 'tiny-imagenet'])
def test_small_images_as_the_reference_trains_them(data):
    """Names, network, masks, sizes and statistics of REFERENCE; the schedule is ours, and says so."""
    folder, end = ROOT / 'configs/maskany', f'1xb128-coslr-300e_{data}-224px'
    plain, augmented, method, control = (
        load(folder / f'{name}_{end}.py')
        for name in (
            'resnet34',
            'resnet34-autoaugment',
            'maskany_maskresnet34-pipeline',
            'maskany_maskresnet34-autoaugment',
        )
    )
    assert method.model.backbone == dict(type='mmmaskany.MaskResNet', depth=34) == control.model.backbone
    assert plain.model.backbone == dict(type='mmpretrain.ResNet', depth=34, zero_init_residual=False)
    kinds = dict(GridPattern=0.1, PatchPattern=0.3) if data == 'cifar100' else None
    kinds = kinds or dict(GridPattern=0.1, PatchPattern=0.2, RandomPattern=0.1)
    for cfg in (plain, augmented, method, control):
        assert cfg.data_preprocessor.mean == [123.675, 116.28, 103.53]
        assert cfg.data_preprocessor.std == [58.395, 57.12, 57.375]
        assert cfg.default_hooks.checkpoint.save_best == 'accuracy/top1'
        assert cfg.model.head.init_cfg is None
    loaded = [] if data == 'cifar100' else ['LoadImageFromFile']

    def steps(cfg, split):
        return {step.type.removeprefix('mmmaskany.'): step for step in pipeline_of(cfg[f'{split}_dataloader'])}

    for cfg in (method, control):
        for split in ('train', 'val', 'test'):
            found = steps(cfg, split)
            assert [*found] == [*loaded, 'MaskRegions', 'Resize', 'AugmentReused', 'PackMaskAnyInputs']
            resize = found['Resize']
            assert (resize.scale, resize.interpolation, resize.backend) == (224, 'bilinear', 'pillow')
            assert found['AugmentReused'].get('policy') == ('cifar10' if split == 'train' else None)
            if split == 'train':
                assert found['AugmentReused'].get('bgr', True) == cfg.data_preprocessor.to_rgb
            if split != 'train' or cfg is control:
                assert found['MaskRegions'].pattern is None
    pattern = steps(method, 'train')['MaskRegions'].pattern
    check_reference_pattern(pattern)
    assert {
        part.type.removeprefix('mmmaskany.'): prob for part, prob in zip(pattern.patterns, pattern.probs, strict=True)
    } == kinds
    for split in ('train', 'val', 'test'):
        augment = ['TorchvisionAutoAugment'] if split == 'train' else []
        assert [*steps(plain, split)] == [*loaded, 'Resize', 'PackInputs']
        assert [*steps(augmented, split)] == [*loaded, *augment, 'Resize', 'PackInputs']
    # A control is one thing away.
    one = {'train_pipeline', 'train_dataloader.dataset.pipeline'}
    assert differences(tree(method.filename), tree(control.filename)) == one
    assert differences(tree(plain.filename), tree(augmented.filename)) == one


@pytest.mark.parametrize('data', ['cifar100', 'tiny-imagenet'])
def test_views_of_the_reference_are_resized_apart(data, sample):
    """At test time both views are what PIL makes of the image as it is stored, not one of the other."""
    cfg = load(ROOT / f'configs/maskany/maskany_maskresnet34-pipeline_1xb128-coslr-300e_{data}-224px.py')
    init_default_scope('mmpretrain')
    side = 32 if data == 'cifar100' else 64
    steps = [step.to_dict() for step in pipeline_of(cfg.test_dataloader)]
    given = sample(steps, side, 0)
    image = given['img'] if 'img' in given else cv2.imread(given['img_path'])[..., ::-1]
    preprocessor = MODELS.build(copy.deepcopy(cfg.data_preprocessor.to_dict()))
    views = preprocessor(default_collate([Compose(steps)(given)]))['inputs']
    for view, size in ((views.visible, 224), (views.reused, 112)):
        resized = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((size, size), Image.BILINEAR))
        expected = (resized - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
        np.testing.assert_allclose(view[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)
    # The flip at test time is that of what both views are made of.
    plain, flipped = Compose([step.to_dict() for step in cfg.tta_pipeline])(sample(steps, side, 0))['inputs']
    assert torch.equal(flipped.visible, plain.visible.flip(-1)) and torch.equal(flipped.reused, plain.reused.flip(-1))
    # The draw of a training is a masked share, or an augmented view, and each view has its size.
    torch.manual_seed(0)
    steps = [step.to_dict() for step in pipeline_of(cfg.train_dataloader)]
    drawn = [Compose(steps)(sample(steps, side, 0)) for _ in range(40)]
    assert {tuple(view['inputs'].visible.shape) for view in drawn} == {(3, 224, 224)}
    assert {tuple(view['inputs'].reused.shape) for view in drawn} == {(3, 112, 112)}
    masked = [view['data_samples'].masked for view in drawn]
    assert 6 <= sum(masked) <= 26  # 0.4 of 40
    whole = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((224, 224), Image.BILINEAR))
    for view, is_masked in zip(drawn, masked, strict=True):
        pixels = view['inputs'].visible.permute(1, 2, 0).numpy()
        pixels = pixels if data == 'cifar100' else pixels[..., ::-1]
        assert np.array_equal(pixels, whole) != is_masked


def test_schedule_of_small_images_at_224_px():
    cfg = load(ROOT / 'configs/maskany/maskany_maskresnet34-pipeline_1xb128-coslr-300e_cifar100-224px.py')
    init_default_scope('mmpretrain')
    network, _ = shrink(cfg.model.to_dict())
    optimizer = build_optim_wrapper(MODELS.build(network), cfg.optim_wrapper.to_dict()).optimizer
    assert type(optimizer).__name__ == 'SGD'
    (group,) = optimizer.param_groups
    assert (group['lr'], group['momentum'], group['weight_decay'], group['nesterov']) == (0.1, 0.9, 5e-4, True)
    schedule = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=optimizer))
    assert (schedule.T_max, schedule.end, schedule.by_epoch) == (300, 300, True)


@pytest.mark.parametrize(
    ('name', 'spread'),
    [('maskresnet34_8xb128-coslr-100e_in1k', 1 / 512**0.5 / 3**0.5), ('maskvit-base-p16_8xb128-coslr-300e_in1k', 0.01)],
)
def test_start_values_of_the_papers_heads(name, spread):
    """PyTorch's own is uniform within 1 / sqrt(in), the paper's ViT's is normal."""
    cfg = load(ROOT / f'configs/maskany/maskany_{name}.py')
    init_default_scope('mmpretrain')
    head = MODELS.build(dict(cfg.model.head.to_dict()))
    torch.manual_seed(0)
    head.init_weights()
    (weight,) = [parameter for parameter in head.parameters() if parameter.ndim == 2]
    assert weight.std().item() == pytest.approx(spread, rel=0.01)


def test_masked_share_of_the_reference_grid():
    """At 32 px 22.65 % on average over all sides, from 11.8 to 39.1 %, by enumeration."""
    cfg = load(ROOT / 'configs/maskany/maskany_maskresnet34-pipeline_1xb128-coslr-300e_cifar100-224px.py')
    grid = build_pattern(pipeline_of(cfg.train_dataloader)[0].pattern.patterns[0])
    ratios = grid.draw(4000, 32, 32, torch.Generator().manual_seed(0)).ratio
    assert ratios.mean().item() == pytest.approx(0.2265, abs=0.004)
    assert ratios.min().item() == pytest.approx(0.118, abs=0.001)
    assert ratios.max().item() == pytest.approx(0.391, abs=0.001)


@pytest.mark.parametrize(
    ('name', 'rate'),
    [
        ('maskvit-base-p16_8xb128-coslr-300e_in1k', 0.0),
        ('maskswin-tiny_8xb128-coslr-300e_in1k', 0.1),
        ('maskswin-tiny_1xb128-coslr-200e_cifar100', 0.1),
        ('maskswin-tiny_1xb128-coslr-200e_tiny-imagenet', 0.1),
        ('maskefficientnetv2-s_8xb128-coslr-100e_in1k', 0.2),
    ],
)
def test_drop_path_of_the_papers_networks(name, rate):
    cfg = load(ROOT / f'configs/maskany/maskany_{name}.py')
    init_default_scope('mmpretrain')
    small, _ = shrink(cfg.model.to_dict())
    backbone = MODELS.build(small['backbone'])
    rates = [module.drop_prob for module in backbone.modules() if type(module).__name__ == 'DropPath']
    assert max(rates, default=0.0) == pytest.approx(rate)


def test_images_of_maskefficientnetv2():
    cfg = load(ROOT / 'configs/maskany/maskany_maskefficientnetv2-s_8xb128-coslr-100e_in1k.py')
    assert (cfg.data_preprocessor.mean, cfg.data_preprocessor.std) == (
        [123.675, 116.28, 103.53],
        [58.395, 57.12, 57.375],
    )
    assert {step.type: step for step in cfg.train_pipeline}['RandomResizedCrop'].scale == 224
    assert {step.type: step for step in cfg.test_pipeline}['CenterCrop'].crop_size == 224


def test_entry_says_what_is_the_papers():
    text = ENTRY.read_text()
    assert twin(ENTRY, 'pipeline').relative_to(ROOT).as_posix() in text
    assert 'docs/fidelity.md' in text and (ROOT / 'docs/fidelity.md').is_file()


def shrunk(pipeline: list, side: int) -> list:
    """Make a pipeline yield images of at most ``side`` pixels."""
    steps = []
    theirs = [step['type'] for step in pipeline if not step['type'].startswith('mmmaskany.')]
    cropped = {'RandomCrop', 'CenterCrop'} & {*theirs[2:]}
    for step in pipeline:
        step = dict(step)
        if step['type'] == 'TestTimeAug':
            step['transforms'] = [shrunk(chain, side) for chain in step['transforms']]
        elif step['type'] in ('Resize', 'ResizeEdge') and cropped:
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
    stored, side = min(STORED.get(name['data'], 32), 96), side_of(name)
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
    pairs = 'mmmaskany.PackMaskAnyInputs' in str(pipeline_of(cfg.train_dataloader))
    if pairs:
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
    views = [view.visible if isinstance(view, Views) else view for view in views]
    assert len(views) > 1 and {tuple(view.shape) for view in views} == {(3, side, side)}
