# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped MaskSub configs: names, twins, recipes, and a training and a test step of each, shrunk."""

import copy
import re
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
import torch
from differences import differences
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from mmmaskany.engine.checks.config import check_config

FOLDER = Path(__file__).parents[2] / 'configs/masksub'
CONFIGS = sorted(FOLDER.glob('*.py'))
METHODS = [path for path in CONFIGS if path.stem.startswith('masksub_')]
NAME = re.compile(
    r'(masksub_)?(?P<network>deit3-(small|base)-p16|swin-(tiny|small)|resnet(50|101)|(maskany-)?resnet18-narrow'
    r'|vit-base-p16_(mae|clip)-pre)_(?P<gpus>\d+)xb(?P<batch>\d+)(-rsb)?-coslr-(?P<epochs>\d+)e_(in1k|digits|cifar10-10k)'
)
CLIP = Path(mmpretrain.__file__).parent / '.mim/configs/clip/clip_vit-base-p16_zeroshot-cls_in1k.py'
KINDS = {'deit3': 'DropTokens', 'vit': 'DropTokens', 'swin': 'ReplacePatches'}
ids = dict(ids=lambda path: path.stem)


def twin(path: Path) -> Path:
    """Return the config of the same recipe without MaskSub."""
    name = path.stem.removeprefix('masksub_').replace('maskany-', 'maskany_')
    return next(found for found in (FOLDER, FOLDER.with_name('maskany')) for found in found.glob(f'{name}.py'))


def load(path: Path) -> Config:
    """Load a config without the files that its weights start from, its model with the data preprocessor of the run."""
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.pop('init_cfg', None)
    cfg.model.data_preprocessor = copy.deepcopy(cfg.data_preprocessor)
    return cfg


def shrink(cfg: Config) -> int:
    """Make a network narrow and shallow, and return the side of images that suit it."""
    backbone, head = cfg.model.backbone, cfg.model.head
    if backbone.type == 'ResNet':
        backbone.update(stem_channels=4, base_channels=4)
        head.in_channels = 128
    elif backbone.type == 'SwinTransformer':
        backbone.update(
            arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]), img_size=64, window_size=2
        )
        head.in_channels = 64
    elif 'img_size' in backbone:
        arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
        backbone.update(arch=arch, img_size=64)
        head.in_channels = 16
    return 32 if 'resnet18' in str(cfg.filename) else 64


@pytest.mark.parametrize('path', CONFIGS, **ids)
def test_name_tells_the_recipe(path):
    name, cfg = NAME.fullmatch(path.stem), Config.fromfile(path)
    assert name, f'{path.stem} does not follow the naming rule'
    check_config(cfg)
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    assert cfg.auto_scale_lr.base_batch_size == int(name['gpus']) * int(name['batch'])
    assert cfg.train_cfg.max_epochs == int(name['epochs'])
    last = cfg.param_scheduler[-1] if isinstance(cfg.param_scheduler, list) else cfg.param_scheduler
    assert last.type == 'CosineAnnealingLR'
    assert last.get('end', int(name['epochs'])) == int(name['epochs'])
    assert cfg.default_hooks.checkpoint.type == 'mmmaskany.AtomicCheckpointHook'
    assert cfg.custom_imports == dict(imports=['mmmaskany'], allow_failed_imports=False)


@pytest.mark.parametrize('path', METHODS, **ids)
def test_twins_change_one_thing(path):
    cfg, plain = (Config.fromfile(file).to_dict() for file in (path, twin(path)))
    added = {'model.sub_masking', 'model_wrapper_cfg'}
    assert differences(cfg, plain) - {'model.sub_norm'} == {'model.type', *added}
    assert (cfg['model']['type'], plain['model']['type']) == ('mmmaskany.MaskSubClassifier', 'ImageClassifier')
    assert cfg['model_wrapper_cfg'] == dict(type='mmmaskany.OwnStepDistributedDataParallel')
    masking = cfg['model']['sub_masking']
    kind = KINDS.get(path.stem.split('_')[1].split('-')[0], 'FillCells')
    assert masking['type'] == f'mmmaskany.{kind}'
    assert masking['pattern']['type'] == 'mmmaskany.RandomPattern' and masking['pattern']['ratio'] == 0.5
    assert masking['pattern']['cell'] == {'DropTokens': 16}.get(kind, 8 if 'narrow' in path.stem else 32)


def test_recipe_of_the_resnets():
    cfg = Config.fromfile(FOLDER / 'masksub_resnet101_8xb256-rsb-coslr-300e_in1k.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('Lamb', 5e-3, 0.02)
    assert cfg.model.backbone.depth == 101 and cfg.model.backbone.drop_path_rate == 0.05
    assert cfg.model.head.loss.use_sigmoid
    assert {augment.type: augment.alpha for augment in cfg.model.train_cfg.augments} == dict(Mixup=0.1, CutMix=1.0)
    assert cfg.train_dataloader.sampler.type == 'RepeatAugSampler'
    (augment,) = [step for step in cfg.train_pipeline if step.type == 'RandAugment']
    assert (augment.magnitude_level, augment.magnitude_std) == (7, 0.5)


@pytest.mark.parametrize(('size', 'drop_path'), [('small', 0.0), ('base', 0.1)])
def test_recipe_of_deit3(size, drop_path):
    cfg = Config.fromfile(FOLDER / f'masksub_deit3-{size}-p16_8xb256-coslr-400e_in1k.py')
    optim = cfg.optim_wrapper
    assert (optim.optimizer.type, optim.optimizer.lr, optim.optimizer.weight_decay) == ('Lamb', 3e-3, 0.02)
    assert optim.clip_grad.max_norm == 1.0
    warmup, cosine = cfg.param_scheduler
    assert (warmup.type, warmup.end, cosine.begin, cosine.end, cosine.eta_min) == ('LinearLR', 5, 5, 400, 1e-5)
    assert warmup.start_factor * optim.optimizer.lr == pytest.approx(1e-6)
    backbone, loss = cfg.model.backbone, cfg.model.head.loss
    assert (backbone.type, backbone.arch, backbone.img_size) == ('DeiT3', size[0], 224)
    assert backbone.drop_path_rate == drop_path
    assert (loss.type, loss.use_sigmoid, loss.loss_weight) == ('CrossEntropyLoss', True, 1e-3)
    assert {augment.type: augment.alpha for augment in cfg.model.train_cfg.augments} == dict(Mixup=0.8, CutMix=1.0)
    assert cfg.train_dataloader.sampler.type == 'RepeatAugSampler'
    steps = {step.type: step for step in cfg.train_pipeline}
    assert not steps.keys() & {'RandAugment', 'RandomErasing'}
    one_of = [group[0].type for group in steps['RandomChoice'].transforms]
    assert one_of == ['RandomGrayscale', 'Solarize', 'GaussianBlur']
    jitter = steps['ColorJitter']
    assert jitter.brightness == jitter.contrast == jitter.saturation == 0.3
    assert steps['RandomResizedCrop'].scale == 224
    # The whole image at test time: its short side is the crop.
    test = {step.type: step for step in cfg.test_dataloader.dataset.pipeline}
    assert test['ResizeEdge'].scale == test['CenterCrop'].crop_size == 224


def test_recipe_of_fine_tuning_from_clip():
    cfg = Config.fromfile(FOLDER / 'masksub_vit-base-p16_clip-pre_8xb256-coslr-50e_in1k.py')
    optim = cfg.optim_wrapper
    assert (optim.optimizer.type, optim.optimizer.lr, optim.optimizer.weight_decay) == ('AdamW', 6e-4, 0.05)
    assert optim.paramwise_cfg.layer_decay_rate == 0.6
    assert cfg.model.backbone.get('drop_path_rate', 0.0) == 0.0 and 'train_cfg' not in cfg.model
    assert cfg.model.head.loss.label_smooth_val == 0.1
    steps = {step.type for step in cfg.train_pipeline}
    assert 'RandAugment' in steps and 'RandomErasing' not in steps
    (average,) = cfg.custom_hooks
    assert (average.type, 1 - average.momentum) == ('EMAHook', 0.9998)
    # CLIP's image encoder: what mmpretrain's own CLIP is built with.
    host = Config.fromfile(CLIP).model.vision_backbone
    for key in ('type', 'arch', 'img_size', 'patch_size', 'pre_norm'):
        assert cfg.model.backbone[key] == host[key]
    assert cfg.model.backbone.layer_cfgs.act_cfg.type.endswith(host.layer_cfgs.act_cfg.type)


@pytest.mark.parametrize('path', [path for path in METHODS if 'in1k' in path.stem and 'base' not in path.stem], **ids)
def test_pipelines_and_their_twins(path):
    cfg = load(path)
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        steps = loader.dataset.pipeline[1:]  # the first one reads a file
        packed = Compose(steps)(dict(img=image, img_shape=(64, 64), ori_shape=(64, 64), gt_label=3))
        assert packed['inputs'].shape == (3, 224, 224)
        assert packed['data_samples'].gt_label.tolist() == [3]


@pytest.mark.parametrize('path', METHODS, **ids)
def test_trains_and_predicts(path):
    cfg = load(path)
    side = shrink(cfg)
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    classes = cfg.model.head.num_classes
    samples = [DataSample().set_gt_label(index) for index in (0, 3, classes - 1, 1)]
    data = dict(inputs=torch.randint(256, (4, 3, side, side), dtype=torch.uint8), data_samples=samples)
    logs = model.train_step(data, optim_wrapper)
    assert {'loss', 'loss_main', 'loss_sub'} <= logs.keys()
    assert all(torch.isfinite(value) for value in logs.values())
    torch.testing.assert_close(logs['loss'], logs['loss_main'] + logs['loss_sub'])
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed >= {name for name in before if name.endswith(('.token', 'fc.weight', 'layers.head.weight'))}

    model.eval()
    with torch.no_grad():
        predictions = model.test_step(data)
    scores = torch.stack([prediction.pred_score for prediction in predictions])
    assert scores.shape == (4, classes)
    torch.testing.assert_close(scores.sum(1), torch.ones(4))
