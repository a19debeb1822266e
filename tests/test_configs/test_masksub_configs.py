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
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample
from shipped import load as load_shipped
from shipped import shrink as shrink_shipped
from shipped import tree

from mmmaskany.engine.checks.config import check_config

FOLDER = Path(__file__).parents[2] / 'configs/masksub'
SEGMENTORS = sorted(path for path in FOLDER.glob('*.py') if re.search('_(upernet|sem-fpn)_', path.stem))
DETECTORS = sorted(FOLDER.glob('masksub_*-rcnn_*.py'))
CONFIGS = sorted(set(FOLDER.glob('*.py')) - {*SEGMENTORS, *DETECTORS})
METHODS = [path for path in CONFIGS if path.stem.startswith('masksub_')]
LAYERS = [path for path in CONFIGS if path.stem.startswith('masksub-layers_')]
GUIDED = [path for path in CONFIGS if path.stem.startswith('masksub-') and path not in LAYERS]
NAME = re.compile(
    r'(masksub(-attention|-activation|-layers)?_)?(?P<network>deit3-(small|base|large|huge)-p1[46](_\d+px-pre)?|swin-(tiny|small|base)|resnet(50|101|152)'
    r'|(maskany-)?resnet18-narrow|vit-narrow|vit-(base|large|huge)-p1[46]_(mae|clip)-pre)_(?P<gpus>\d+)xb(?P<batch>\d+)(-rsb)?'
    r'-coslr-(?P<epochs>\d+)e_(in1k|digits|cifar10-10k)(-\d+px)?'
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
        side = 4 * backbone.patch_size
        backbone.update(arch=arch, img_size=side)
        head.in_channels = 16
        return side
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
    # A network that goes on from smaller images goes on from its own.
    start = {'load_from'} if 'px-pre' in path.stem else set()
    assert differences(cfg, plain) - {'model.sub_norm'} == {'model.type', *added, *start}
    assert (cfg['model']['type'], plain['model']['type']) == ('mmmaskany.MaskSubClassifier', 'ImageClassifier')
    assert cfg['model_wrapper_cfg'] == dict(type='mmmaskany.OwnStepDistributedDataParallel')
    masking = cfg['model']['sub_masking']
    kind = KINDS.get(path.stem.split('_')[1].split('-')[0], 'FillCells')
    assert masking['type'] == f'mmmaskany.{kind}'
    assert masking['pattern']['type'] == 'mmmaskany.RandomPattern' and masking['pattern']['ratio'] == 0.5
    patch = cfg['model']['backbone'].get('patch_size')
    assert masking['pattern']['cell'] == {'DropTokens': patch}.get(kind, 8 if 'narrow' in path.stem else 32)


@pytest.mark.parametrize('path', GUIDED, **ids)
def test_guided_masks_differ_in_the_pattern_alone(path):
    kind = path.stem.split('_')[0]
    cfg, random = tree(path), tree(path.with_stem(path.stem.replace(f'{kind}_', 'masksub_')))
    assert differences(cfg, random) and all(
        key.startswith('model.sub_masking.pattern') for key in differences(cfg, random)
    )
    guided, other = cfg['model']['sub_masking']['pattern']['patterns']
    assert other == random['model']['sub_masking']['pattern']
    assert guided['type'] == f'mmmaskany.{kind.removeprefix("masksub-").title()}Pattern'
    assert all(guided[key] == other[key] for key in ('ratio', 'cell', 'base'))


@pytest.mark.parametrize('path', LAYERS, **ids)
def test_hidden_cells_are_those_that_would_be_filled(path):
    cfg, filled = tree(path), tree(path.with_stem(path.stem.replace('masksub-layers_', 'masksub_')))
    assert differences(cfg, filled) == {'model.sub_masking.type', 'model.sub_masking.size'}
    masking = cfg['model']['sub_masking']
    assert masking['type'] == 'mmmaskany.HideFromLayers' and tuple(masking['size']) == (32, 32)


@pytest.mark.parametrize('depth', [50, 101, 152])
def test_recipe_of_the_resnets(depth):
    cfg = Config.fromfile(FOLDER / f'masksub_resnet{depth}_8xb256-rsb-coslr-300e_in1k.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('Lamb', 5e-3, 0.02)
    warmup = cfg.param_scheduler[0]
    assert (warmup.type, warmup.end) == ('LinearLR', 5) and warmup.start_factor * optimizer.lr == pytest.approx(1e-4)
    assert cfg.model.backbone.depth == depth and cfg.model.backbone.drop_path_rate == 0.05
    assert cfg.model.backbone.norm_cfg.type == 'BN'
    assert {augment.type: augment.alpha for augment in cfg.model.train_cfg.augments} == dict(Mixup=0.1, CutMix=1.0)
    assert cfg.train_dataloader.sampler.type == 'RepeatAugSampler'
    (augment,) = [step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'RandAugment']
    assert (augment.magnitude_level, augment.magnitude_std) == (7, 0.5)


def test_loss_of_the_resnets_is_averaged_over_the_classes():
    cfg = Config.fromfile(FOLDER / 'resnet50_8xb256-rsb-coslr-300e_in1k.py')
    init_default_scope('mmpretrain')
    head = MODELS.build(dict(cfg.model.head, in_channels=4))
    torch.nn.init.zeros_(head.fc.weight)
    torch.nn.init.zeros_(head.fc.bias)
    samples = [DataSample().set_gt_score(torch.eye(1000)[index]) for index in (0, 7)]
    loss = head.loss((torch.randn(2, 4),), samples)['loss']
    torch.testing.assert_close(loss, torch.tensor(2.0).log())  # 0.693


@pytest.mark.parametrize(
    ('operation', 'level_7'),
    [('Rotate', 21.0), ('Posterize', 2.8), ('Solarize', 179.2), ('SolarizeAdd', 77.0), ('Contrast', 0.36)],
)
def test_operations_of_the_resnets_do_not_only_grow_stronger(operation, level_7):
    """rand-m7 without `inc`: 7 of 10 from timm's range, so that 2 bits stay, and the contrast is 0.1 + 1.8 * 0.7."""
    cfg = Config.fromfile(FOLDER / 'resnet50_8xb256-rsb-coslr-300e_in1k.py')
    init_default_scope('mmpretrain')
    (augment,) = [step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'RandAugment']
    built = TRANSFORMS.build(dict(augment, magnitude_std=0.0))
    assert len(built.transforms) == 15
    (transform,) = [transform for transform in built.transforms if type(transform).__name__ == operation]
    assert transform.random_magnitude() == pytest.approx(level_7)


#: By size: patch, side of the images, rate, drop path of 400 and of 800 epochs, GPUs and batch.
DEIT3 = {
    'small': (16, 224, 4e-3, 0.0, 0.05, '8xb256'),
    'base': (16, 192, 3e-3, 0.1, 0.2, '8xb256'),
    'large': (16, 192, 3e-3, 0.4, 0.45, '32xb64'),
    'huge': (14, 160, 3e-3, 0.5, 0.6, '32xb64'),
}


@pytest.mark.parametrize('epochs', [400, 800])
@pytest.mark.parametrize('size', DEIT3)
def test_recipe_of_deit3(size, epochs):
    patch, side, rate, *drop_paths, gpus = DEIT3[size]
    drop_path = drop_paths[epochs == 800]
    end = '' if side == 224 else f'-{side}px'
    cfg = Config.fromfile(FOLDER / f'masksub_deit3-{size}-p{patch}_{gpus}-coslr-{epochs}e_in1k{end}.py')
    init_default_scope('mmpretrain')
    backbone, loss = cfg.model.backbone, cfg.model.head.loss
    assert (backbone.type, backbone.arch) == ('mmmaskany.DeiT3', size[0])
    assert (backbone.patch_size, backbone.img_size) == (patch, side)
    assert loss == dict(type='mmmaskany.BinaryTargetLoss')
    assert {augment.type: augment.alpha for augment in cfg.model.train_cfg.augments} == dict(Mixup=0.8, CutMix=1.0)

    # What is built: the optimiser with its rates, the schedule, and the same drop path in all layers.
    arch = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
    model = MODELS.build(dict(backbone, arch=arch))
    drops = [getattr(layer.attn.out_drop, 'drop_prob', 0.0) for layer in model.layers]
    assert drops == [drop_path] * 3
    assert {float(layer.attn.gamma1.weight.detach()[0]) for layer in model.layers} == {float(torch.tensor(1e-4))}
    assert model.pos_embed.shape[1] == (side // patch) ** 2  # 121 tokens of the H, whose patches do not divide 160 px
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer).__name__ == 'Lamb' and optimizer.defaults['max_grad_norm'] == 1.0
    assert {group['lr'] for group in optimizer.param_groups} == {rate}
    assert {group['weight_decay'] for group in optimizer.param_groups} == {0.0, 0.03 if epochs == 400 else 0.05}
    warmup, cosine = cfg.param_scheduler
    assert (warmup.type, warmup.end, cosine.begin, cosine.end, cosine.eta_min) == ('LinearLR', 5, 5, epochs, 1e-5)
    assert cosine.T_max == epochs - 5 and warmup.start_factor * rate == pytest.approx(1e-6)

    assert cfg.train_dataloader.sampler.type == 'RepeatAugSampler'
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert not steps.keys() & {'RandAugment', 'RandomErasing'}
    one_of = [group[0].type for group in steps['RandomChoice'].transforms]
    assert one_of == ['RandomGrayscale', 'Solarize', 'GaussianBlur']
    jitter = steps['ColorJitter']
    assert jitter.brightness == jitter.contrast == jitter.saturation == 0.3
    assert steps['RandomResizedCrop'].scale == side
    # The whole image at test time: its short side is the crop.
    test = {step.type: step for step in cfg.test_dataloader.dataset.pipeline}
    assert test['ResizeEdge'].scale == test['CenterCrop'].crop_size == side


@pytest.mark.parametrize(
    ('name', 'drop_path', 'before'),
    [
        ('deit3-base-p16_192px-pre_8xb64', 0.2, 'deit3-base-p16_8xb256-coslr-400e_in1k-192px'),
        ('deit3-large-p16_192px-pre_8xb64', 0.45, 'deit3-large-p16_32xb64-coslr-400e_in1k-192px'),
        ('deit3-huge-p14_160px-pre_16xb32', 0.55, 'deit3-huge-p14_32xb64-coslr-400e_in1k-160px'),
    ],
)
@pytest.mark.parametrize('method', ['', 'masksub_'])
def test_recipe_of_deit3_at_224_px(method, name, drop_path, before):
    cfg = Config.fromfile(FOLDER / f'{method}{name}-coslr-20e_in1k.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1e-5, 0.1)
    assert cfg.model.backbone.img_size == 224 and cfg.model.backbone.layer_cfgs.drop_path_rate == drop_path
    assert cfg.model.head.loss.label_smooth_val == 0.1
    assert cfg.load_from == f'work_dirs/{method}{before}/epoch_400.pth'
    assert (FOLDER / f'{method}{before}.py').is_file()
    assert cfg.train_dataloader.sampler == dict(type='DefaultSampler', shuffle=True)
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert (steps['RandAugment'].magnitude_level, steps['RandAugment'].policies) == (9, 'timm_increasing')
    assert not steps.keys() & {'ColorJitter', 'RandomChoice', 'RandomErasing'}


@pytest.mark.parametrize(('name', 'decay', 'drop_path'), [('large-p16', 0.75, 0.2), ('huge-p14', 0.75, 0.3)])
def test_recipe_of_fine_tuning_larger_networks_from_mae(name, decay, drop_path):
    cfg = Config.fromfile(FOLDER / f'masksub_vit-{name}_mae-pre_8xb128-coslr-50e_in1k.py')
    assert cfg.optim_wrapper.optimizer.lr == 1e-3 * 1024 / 256
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == decay
    assert cfg.model.backbone.drop_path_rate == drop_path and cfg.train_cfg.max_epochs == 50


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


@pytest.mark.parametrize('path', [path for path in METHODS if 'in1k' in path.stem and '800e' not in path.stem], **ids)
def test_pipelines_and_their_twins(path):
    cfg = load(path)
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        steps = loader.dataset.pipeline[1:]  # the first one reads a file
        packed = Compose(steps)(dict(img=image, img_shape=(64, 64), ori_shape=(64, 64), gt_label=3))
        side = next((int(part) for part in re.findall(r'in1k-(\d+)px', path.stem)), 224)
        assert packed['inputs'].shape == (3, side, side)
        assert packed['data_samples'].gt_label.tolist() == [3]


@pytest.mark.parametrize('path', [*METHODS, *GUIDED, *LAYERS], **ids)
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


# ---------------------------------------------------------------------- segmentors


def test_segmentors_come_with_and_without_a_second_stem():
    networks = {path.stem.removeprefix('masksub_').removeprefix('maskany-') for path in SEGMENTORS}
    assert len(SEGMENTORS) == 2 * len(networks)
    assert {re.search('ade20k|digits', name)[0] for name in networks} == {'ade20k', 'digits'}


@pytest.mark.parametrize('path', SEGMENTORS, **ids)
def test_segmentors_and_their_twins_differ_in_one_thing(path):
    plain = FOLDER.with_name('segmentation') / f'{path.stem.removeprefix("masksub_")}.py'
    cfg, twin = tree(path), tree(plain)
    assert differences(cfg, twin) == {'model.type', 'model.sub_masking', 'model_wrapper_cfg'}
    assert (cfg['model']['type'], twin['model']['type']) == ('mmmaskany.MaskSubSegmentor', 'EncoderDecoder')
    assert cfg['model_wrapper_cfg'] == dict(type='mmmaskany.OwnStepDistributedDataParallel')
    masking = cfg['model']['sub_masking']
    assert masking['type'] == 'mmmaskany.FillCells' and masking['pattern']['ratio'] == 0.5
    assert masking['pattern']['cell'] == (8 if 'digits' in path.stem else 32)
    check_config(Config.fromfile(path))


@pytest.mark.parametrize('path', SEGMENTORS, **ids)
def test_segmentors_train_and_predict(path):
    structures = pytest.importorskip('mmseg.structures')
    cfg = copy.deepcopy(load_shipped(path))
    model, _ = shrink_shipped(cfg.model.to_dict())
    model['backbone'].pop('init_cfg', None)
    model['data_preprocessor']['size'] = (96, 96)
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(Config(model)._cfg_dict).train()
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    samples, size = [], (80, 96)
    for label in (0, 3):
        sample = structures.SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=torch.full((1, *size), label))
        samples.append(sample)
    images = [torch.randint(256, (3, *size), dtype=torch.uint8) for _ in samples]
    logs = model.train_step(dict(inputs=list(images), data_samples=copy.deepcopy(samples)), optim_wrapper)
    heads = ['decode', 'aux'] if 'upernet' in path.stem else ['decode']
    expected = {f'{branch}{head}.loss_ce' for branch in ('', 'sub.') for head in heads}
    expected |= {'decode.loss_lovasz'} if 'digits' in path.stem else set()
    assert {name for name in logs if '.loss' in name} == expected
    assert all(torch.isfinite(value) for value in logs.values())
    torch.testing.assert_close(logs['loss'], sum(logs[name] for name in expected))
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed >= {name for name in before if 'conv_seg' in name}

    model.eval()
    (prediction,) = model.test_step(dict(inputs=images[:1], data_samples=samples[:1]))
    assert prediction.pred_sem_seg.data.shape == (1, *size)


# ---------------------------------------------------------------------- detectors


@pytest.mark.parametrize('path', DETECTORS, **ids)
def test_detectors_and_their_twins_differ_in_one_thing(path):
    plain = FOLDER.with_name('detection') / f'{path.stem.removeprefix("masksub_")}.py'
    cfg, twin = tree(path), tree(plain)
    assert differences(cfg, twin) == {'model.type', 'model.host', 'model.sub_masking', 'model_wrapper_cfg'}
    assert cfg['model']['type'] == 'mmmaskany.MaskSubDetector'
    assert cfg['model']['host'] == f'mmdet.{twin["model"]["type"]}'
    assert cfg['model_wrapper_cfg'] == dict(type='mmmaskany.OwnStepDistributedDataParallel')
    masking = cfg['model']['sub_masking']
    assert masking['type'] == 'mmmaskany.FillCells' and masking['pattern']['ratio'] == 0.5
    assert masking['pattern']['cell'] == (8 if 'digits' in path.stem else 32)
    check_config(Config.fromfile(path))
    assert len(DETECTORS) == 4


@pytest.mark.parametrize('path', DETECTORS, **ids)
def test_detectors_train(path):
    structures = pytest.importorskip('mmdet.structures')
    from mmdet.structures.mask import BitmapMasks

    cfg = copy.deepcopy(load_shipped(path))
    model, _ = shrink_shipped(cfg.model.to_dict())
    model['backbone'].pop('init_cfg', None)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(Config(model)._cfg_dict).train()
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    sample = structures.DetDataSample(metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96), scale_factor=(1.0, 1.0)))
    masks = np.zeros((1, 96, 96), np.uint8)
    masks[:, 20:60, 30:70] = 1
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[30.0, 20.0, 70.0, 60.0]]), labels=torch.tensor([3]), masks=BitmapMasks(masks, 96, 96)
    )
    image = torch.randint(256, (3, 96, 96), dtype=torch.uint8)
    logs = model.train_step(dict(inputs=[image] * 2, data_samples=[sample, copy.deepcopy(sample)]), optim_wrapper)
    losses = ['loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox']
    losses += ['loss_mask'] if 'mask-rcnn' in path.stem else []
    assert {name for name in logs if 'loss_' in name} == {*losses, *(f'sub.{name}' for name in losses)}
    assert all(torch.isfinite(value) for value in logs.values())
