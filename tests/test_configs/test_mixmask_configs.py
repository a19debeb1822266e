# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The shipped configs of MixMask: names, recipes, twins, what the probes start from, and a step of each."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from differences import differences
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.dataset.utils import default_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from shipped import ROOT, load, shrink, tree

from mmmaskany.models.selfsup.mix_mask import FRAMEWORKS, build_mixing

FOLDER = ROOT / 'configs/mixmask'
CONFIGS = sorted(FOLDER.glob('*.py'))
FRAMEWORK = {'mocov2': 'MoCo', 'simsiam': 'SimSiam'}
VARIANT = r'(?P<mixing>(unmix-)?(mixmask-)?(discrete-)?)(?P<framework>mocov2|simsiam)'
TRAINING = (
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<job>linear-)?(?P<decay>coslr|steplr)-(?P<epochs>\d+)e_(?P<data>[a-z\d-]+)'
)
NET = r'(?P<net>resnet50|resnet18-narrow|resnet18)'
PRETRAINING = re.compile(rf'{VARIANT}_{NET}{TRAINING}')
CLASSIFIER = re.compile(rf'{NET}_({VARIANT}-pre|scratch){TRAINING}')
DETECTOR = re.compile(rf'(mask|faster)-rcnn_{VARIANT}-pre-r50(-c4|_fpn)_ms-(?P<schedule>1x|24k)_(coco|voc0712)')
SIDES = {'in1k': 224, 'cifar100': 32, 'digits': 32}
PRETRAININGS = [path for path in CONFIGS if PRETRAINING.fullmatch(path.stem)]
CLASSIFIERS = [path for path in CONFIGS if CLASSIFIER.fullmatch(path.stem)]
DETECTORS = [path for path in CONFIGS if DETECTOR.fullmatch(path.stem)]
MIXED = [path for path in CONFIGS if 'mix' in path.stem]
ids = dict(ids=lambda path: path.stem)


def test_every_name_follows_a_rule():
    assert sorted([*PRETRAININGS, *CLASSIFIERS, *DETECTORS]) == CONFIGS


@pytest.mark.parametrize('path', [*PRETRAININGS, *CLASSIFIERS], **ids)
def test_name_tells_the_recipe(path):
    name, cfg = (PRETRAINING.fullmatch(path.stem) or CLASSIFIER.fullmatch(path.stem)).groupdict(), load(path)
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    assert cfg.auto_scale_lr.base_batch_size == int(name['gpus']) * int(name['batch'])
    assert cfg.train_cfg.max_epochs == int(name['epochs'])
    scheduler = cfg.param_scheduler[-1] if isinstance(cfg.param_scheduler, list) else cfg.param_scheduler
    assert scheduler.type == {'coslr': 'CosineAnnealingLR', 'steplr': 'MultiStepLR'}[name['decay']]
    assert (
        scheduler.get('T_max', int(name['epochs']))
        == scheduler.get('end', int(name['epochs']))
        == cfg.train_cfg.max_epochs
    )
    assert cfg.custom_imports == dict(imports=['mmmaskany'], allow_failed_imports=False)
    assert cfg.default_hooks.checkpoint.type == 'mmmaskany.AtomicCheckpointHook'
    assert cfg.randomness.seed is not None
    if path in CLASSIFIERS:
        assert (cfg.model.backbone.frozen_stages == 4) == bool(name['job'])
        share = re.search(r'in1k-(\d+)pct', path.stem)
        assert (
            (f'train_{share[1]}percent.txt' in cfg.train_dataloader.dataset.ann_file)
            if share
            else (not cfg.train_dataloader.dataset.get('ann_file'))
        )
    else:
        assert cfg.train_dataloader.drop_last
        if name['framework'] == 'mocov2':
            assert cfg.model.queue_len % (int(name['gpus']) * int(name['batch'])) == 0


@pytest.mark.parametrize('path', MIXED, **ids)
def test_twins_change_one_thing(path):
    stem = re.sub(r'(unmix-)?(mixmask-)?(discrete-)?(?=mocov2|simsiam)', '', path.stem)
    changed = differences(tree(path), tree(path.with_stem(stem)))
    if path in PRETRAININGS:
        assert changed == {'model.type', 'model.mixing'}
    else:
        assert changed == {'model.backbone.init_cfg.checkpoint'}


@pytest.mark.parametrize('path', [path for path in PRETRAININGS if path in MIXED], **ids)
def test_mixing_is_what_the_name_says(path):
    name, cfg = PRETRAINING.fullmatch(path.stem), load(path)
    assert MODELS.get(cfg.model.type) is FRAMEWORKS[FRAMEWORK[name['framework']]]
    side = SIDES[name['data']]
    mixings = build_mixing(cfg.model.mixing)
    kinds = []
    for mixing in mixings:
        kinds.append(type(mixing).__name__)
        if hasattr(mixing, 'pattern'):
            kinds[-1] = type(mixing.pattern).__name__
            draw = mixing.pattern.draw(8, side, side)
            assert draw.mask.shape == (8, 8, 8) and draw.ratio.tolist() == [0.5] * 8
    patterns = {'mixmask-': ['BlockPattern'], 'mixmask-discrete-': ['RandomPattern'], 'unmix-': ['UnMix']}
    assert kinds == patterns.get(name['mixing'], ['BlockPattern', 'UnMix'])


def test_recipe_of_the_paper():
    cfg = load(FOLDER / 'mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k.py')
    theirs = tree('mmpretrain::mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py')
    own = copy.deepcopy(tree(FOLDER / 'mocov2_resnet50_8xb32-coslr-200e_in1k.py'))
    around = {'custom_imports', 'default_hooks.checkpoint.type', 'randomness', 'randomness.seed'}
    # Colours are jittered as much, by a transform that NumPy 2 agrees with.
    first, jitter, last = own['view_pipeline'][1]['transforms']
    assert (first['type'], jitter['type'], last['type']) == ('NumpyToPIL', 'torchvision/ColorJitter', 'PILToNumpy')
    assert first['to_rgb'] and last['to_bgr']
    own['view_pipeline'][1]['transforms'] = [dict(jitter, type='ColorJitter')]
    pipelines = {'view_pipeline', 'train_pipeline', 'train_dataloader.dataset.pipeline'}
    assert own['view_pipeline'] == theirs['view_pipeline']
    assert differences({key: own.get(key) for key in theirs}, theirs) - pipelines <= around
    assert (cfg.model.head.temperature, cfg.model.queue_len, cfg.optim_wrapper.optimizer.lr) == (0.2, 65536, 0.03)
    assert cfg.auto_scale_lr.base_batch_size == 256 and cfg.train_cfg.max_epochs == 200


@pytest.mark.parametrize('path', [path for path in [*CLASSIFIERS, *DETECTORS] if 'scratch' not in path.stem], **ids)
def test_starts_from_what_was_trained_here(path):
    cfg = load(path)
    init_cfg = cfg.model.backbone.init_cfg
    assert (init_cfg.type, init_cfg.prefix) == ('Pretrained', 'backbone.')
    file = Path(init_cfg.checkpoint)
    source = FOLDER / f'{file.parent.name}.py'
    found = PRETRAINING.fullmatch(source.stem)
    mine = (CLASSIFIER.fullmatch(path.stem) or DETECTOR.fullmatch(path.stem)).groupdict()
    assert all(found[key] == mine[key] for key in ('mixing', 'framework'))
    assert file.name == f'epoch_{load(source).train_cfg.max_epochs}.pth'
    if path in CLASSIFIERS:
        assert found['net'] == mine['net'] and found['data'] == mine['data'].partition('-')[0]
        own, other = ({**load(p).model.backbone} for p in (path, source))
        widths = ('depth', 'stem_channels', 'base_channels', 'strides')
        assert [own.get(key) for key in widths] == [other.get(key) for key in widths]
    else:
        assert cfg.model.backbone.depth == 50 and cfg.model.backbone.frozen_stages == -1
        assert cfg.model.backbone.style == 'pytorch'  # where mmpretrain's ResNet has its strides
        assert cfg.model.data_preprocessor.mean == [123.675, 116.28, 103.53] and cfg.model.data_preprocessor.bgr_to_rgb


def images(path, count):
    side = 64 if '_in1k' in path.stem else 32
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def batch(pipeline, path, count=4):
    steps = [step for step in pipeline if step['type'] != 'LoadImageFromFile']
    return default_collate(
        [
            Compose(steps)(dict(img=image, gt_label=index, img_shape=image.shape[:2]))
            for index, image in enumerate(images(path, count))
        ]
    )


def small(path):
    """Build a config's model, narrow."""
    cfg = load(path)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model, _ = shrink(cfg.model.to_dict())
    model['backbone'].pop('init_cfg', None)
    if 'queue_len' in model:
        model['queue_len'] = 32
    if 'data_preprocessor' not in model:
        model['data_preprocessor'] = cfg.data_preprocessor.to_dict()
    return revert_sync_batchnorm(MODELS.build(Config(model))).train(), cfg


@pytest.mark.parametrize('path', PRETRAININGS, **ids)
def test_pretrains_a_step(path):
    model, cfg = small(path)
    model.init_weights()
    data = batch(cfg.train_dataloader.dataset.pipeline, path)
    side = SIDES[PRETRAINING.fullmatch(path.stem)['data']]
    assert [view.shape for view in data['inputs']] == [(4, 3, side, side)] * 2
    assert not torch.equal(*data['inputs'])
    optim_wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    before = model.backbone.conv1.weight.clone()
    logs = model.train_step(data, optim_wrapper)
    assert all(torch.isfinite(value) for value in logs.values())
    assert ('loss_own' in logs) == (path in MIXED)
    assert not torch.equal(model.backbone.conv1.weight, before)


@pytest.mark.parametrize('path', [path for path in CLASSIFIERS if path not in MIXED], **ids)
def test_probes_and_fine_tunes_a_step(path):
    model, cfg = small(path)
    optim_wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    logs = model.train_step(batch(cfg.train_dataloader.dataset.pipeline, path), optim_wrapper)
    assert torch.isfinite(logs['loss'])
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    frozen = cfg.model.backbone.frozen_stages == 4
    changed = {key for key in changed if not key.startswith('neck.')}  # what standardises the features
    # A probe leaves the statistics of batch norms alone as well.
    assert (changed == {'head.fc.weight', 'head.fc.bias'}) == frozen
    rates = {group['lr'] for group in optim_wrapper.param_groups}
    assert len(rates) == (1 if frozen else 2)
    model.eval()
    with torch.no_grad():
        predictions = model.test_step(batch(cfg.val_dataloader.dataset.pipeline, path))
    scores = torch.stack([prediction.pred_score for prediction in predictions])
    torch.testing.assert_close(scores.sum(1), torch.ones(4))


@pytest.mark.parametrize('path', [path for path in DETECTORS if '-c4' in path.stem and path in MIXED], **ids)
def test_c4_takes_the_checkpoint_and_trains_a_step(path, tmp_path):
    """The shared head of a C4 detector has a fixed width, so the network is whole and all else is small."""
    pytest.importorskip('mmdet')
    from mmdet.testing import demo_mm_inputs

    cfg = load(path)
    init_default_scope('mmpretrain')
    backbone = MODELS.build(dict(type='ResNet', depth=50))
    torch.nn.init.constant_(backbone.layer3[5].bn3.running_mean, 0.5)
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in backbone.state_dict().items()}), tmp_path / 'a.pth')
    init_default_scope('mmdet')
    model = copy.deepcopy(cfg.model)
    model.backbone.init_cfg.checkpoint = str(tmp_path / 'a.pth')
    model.train_cfg.rcnn.sampler.num = 8
    model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=10)
    model = revert_sync_batchnorm(MODELS.build(model))
    model.init_weights()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, backbone.state_dict()[key]), key
    assert len(model.backbone.state_dict()) == 258 and type(model.roi_head.shared_head).__name__ == 'ResLayerExtraNorm'
    model.train()
    data = demo_mm_inputs(1, [(3, 64, 64)], num_classes=20, with_mask=model.with_mask)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss) and model.backbone.conv1.weight.grad.any()
    if 'voc' in path.stem:
        assert cfg.train_cfg.max_iters == 24000 and cfg.param_scheduler[-1].end == 24000
        assert len(cfg.train_dataloader.dataset.datasets) == 2 and cfg.val_evaluator.type == 'VOCMetric'
    else:
        assert cfg.train_cfg.max_epochs == 12
