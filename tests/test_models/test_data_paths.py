# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Masking in the model and masking in the data pipeline feed, and train, the same network."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from mmmaskany.datasets.transforms import AugmentReused, MaskRegions, PackMaskAnyInputs
from mmmaskany.masking import Views
from mmmaskany.models import MaskAny, MaskAnyDataPreprocessor

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
BLACK = dict(type='mmmaskany.ConstantFill', value=[-mean / std for mean, std in zip(MEAN, STD, strict=True)])
HOST = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8)
PATTERNS = {
    'patch': dict(type='mmmaskany.PatchPattern', scale=0.5, base=2),
    'grid': dict(type='mmmaskany.GridPattern', scale=0.5, cell=4),
    'random': dict(type='mmmaskany.RandomPattern', scale=0.5, cell=8),
    'canvas is resized': dict(type='mmmaskany.GridPattern', scale=0.25, cell=4),
}


@pytest.mark.parametrize('name', PATTERNS)
@pytest.mark.parametrize('reuse', [True, False])
def test_both_paths_feed_the_same_views(name, reuse):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    preprocess = MaskAnyDataPreprocessor(mean=MEAN, std=STD, to_rgb=True)
    torch.manual_seed(0)
    backbone = MaskAny(HOST, masking=dict(pattern=PATTERNS[name], fill=BLACK, reuse=reuse))
    pack, collate = PackMaskAnyInputs(), default_collate

    plain = preprocess(collate([pack(dict(img=image))]), training=True)['inputs']
    torch.manual_seed(3)
    in_model = backbone.views(plain)

    torch.manual_seed(3)
    results = AugmentReused()(MaskRegions(PATTERNS[name], reuse=reuse)(dict(img=image)))
    pair = preprocess(collate([pack(results)]), training=True)['inputs']

    assert isinstance(pair, Views) and pair.draw is None
    torch.testing.assert_close(pair.visible, in_model.visible)
    # The pipeline resizes bytes, right to within one step.
    tolerance = 1.01 / min(STD) if not reuse or name == 'canvas is resized' else 1e-5
    torch.testing.assert_close(pair.reused, in_model.reused, atol=tolerance, rtol=0)
    if reuse and name != 'canvas is resized':
        backbone.masking = None
        for a, b in zip(backbone(pair), backbone(in_model), strict=True):
            torch.testing.assert_close(a, b)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    for label in range(2):
        (root / str(label)).mkdir()
        for index in range(4):
            image = rng.integers(100 * label, 100 * label + 100, (40, 36, 3), dtype=np.uint8)
            assert cv2.imwrite(str(root / str(label) / f'{index}.png'), image)
    return root


def config(root, work_dir, in_model, fuse_at, collate='default_collate'):
    masking = dict(pattern=dict(type='mmmaskany.MixturePattern', patterns=[PATTERNS['grid']], probs=[0.5]), fill=BLACK)
    crop = [dict(type='RandomResizedCrop', scale=32), dict(type='RandomFlip', prob=0.5)]
    if in_model:
        pipeline = [dict(type='LoadImageFromFile'), *crop, dict(type='PackInputs')]
    else:
        pipeline = [
            dict(type='LoadImageFromFile'),
            dict(type='mmmaskany.MaskRegions', pattern=masking['pattern']),
            *crop,
            dict(type='mmmaskany.AugmentReused', policy='cifar10'),
            dict(type='mmmaskany.PackMaskAnyInputs'),
        ]
    test_pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(32, 32)),
        dict(type='PackInputs'),
    ]
    at_neck = fuse_at == 'neck'
    gap = dict(type='GlobalAveragePooling')
    neck = dict(type='mmmaskany.MaskAnyNeck', in_channels=64, neck=gap, with_branches=True) if at_neck else gap
    head = dict(type='mmmaskany.MaskAnyClsHead', num_classes=2, in_channels=64, visible_weight=0.5 * at_neck)
    loader = dict(batch_size=4, num_workers=0, collate_fn=dict(type=collate))
    data = dict(type='CustomDataset', data_root=str(root))
    return Config(
        dict(
            default_scope='mmpretrain',
            custom_imports=dict(imports=['mmmaskany'], allow_failed_imports=False),
            model=dict(
                type='ImageClassifier',
                backbone=dict(type='mmmaskany.MaskAny', backbone=HOST, fuse_at=fuse_at)
                | (dict(masking=masking) if in_model else {}),
                neck=neck,
                head=head | dict(loss=dict(type='CrossEntropyLoss')),
                train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)),
                data_preprocessor=dict(
                    type='mmmaskany.MaskAnyDataPreprocessor', num_classes=2, mean=MEAN, std=STD, to_rgb=True
                ),
            ),
            train_dataloader=loader
            | dict(dataset=data | dict(pipeline=pipeline), sampler=dict(type='DefaultSampler', shuffle=True)),
            val_dataloader=loader
            | dict(dataset=data | dict(pipeline=test_pipeline), sampler=dict(type='DefaultSampler', shuffle=False)),
            val_evaluator=dict(type='Accuracy'),
            train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=2),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=None, logger=None),
            randomness=dict(seed=0),
            work_dir=str(work_dir),
            log_level='ERROR',
            experiment_name=f'{work_dir.name}-{in_model}-{fuse_at}-{collate}',
        )
    )


@pytest.mark.parametrize(
    ('fuse_at', 'collate'),
    [
        ('stem', 'default_collate'),
        ('levels', 'default_collate'),
        ('neck', 'default_collate'),
        ('stem', 'pseudo_collate'),
    ],
)
def test_both_paths_train_the_same_network(images, tmp_path, fuse_at, collate):
    trained = []
    for in_model in (True, False):
        runner = Runner.from_cfg(config(images, tmp_path, in_model, fuse_at, collate))
        before = {name: value.clone() for name, value in runner.model.state_dict().items()}
        runner.train()
        after = runner.model.state_dict()
        learned = [name for name, _ in runner.model.named_parameters()]
        assert all(torch.isfinite(after[name]).all() for name in learned)
        assert [name for name in learned if torch.equal(before[name], after[name])] == []
        if fuse_at == 'stem':
            assert any('.reused.' in name for name in learned)
        trained.append(runner.model)
    # The weights of either path are those of the other.
    assert {n: v.shape for n, v in trained[0].state_dict().items()} == {
        n: v.shape for n, v in trained[1].state_dict().items()
    }
    trained[0].load_state_dict(trained[1].state_dict())
    for model in trained:
        model.eval()
    batch = torch.rand(2, 3, 32, 32)
    assert torch.equal(trained[0](batch), trained[1](batch))


def test_a_ready_pair_is_not_masked_again(images):
    backbone = MaskAny(HOST, masking=dict(pattern=PATTERNS['grid']))
    pair = Views(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16))
    assert backbone.training
    assert all(view is given for view, given in zip(backbone.views(pair), pair, strict=True))


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_predict_from_plain_images_and_from_pairs(collate):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='mmpretrain.ImageClassifier',
                data_preprocessor=dict(type='mmmaskany.MaskAnyDataPreprocessor', mean=MEAN, std=STD),
                backbone=dict(type='mmmaskany.MaskAny', backbone=HOST),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=2, in_channels=64, loss=dict(type='CrossEntropyLoss')),
            )
        )
    model.eval()
    # Two by two pixels of one value each, so that halving is exact on bytes.
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    plain = PackMaskAnyInputs()(dict(img=image, gt_label=1))
    pair = PackMaskAnyInputs()(AugmentReused()(dict(img=image, reused_img=image, masked=False, gt_label=1)))
    with torch.no_grad():
        predictions = [model.test_step(collate([sample, sample])) for sample in (plain, pair)]
    for a, b in zip(*predictions, strict=True):
        torch.testing.assert_close(a.pred_score, b.pred_score)
        assert a.gt_label.tolist() == b.gt_label.tolist() == [1]
