# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""``frozen=True``: the head alone is trained."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

GRID = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8))
VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
SWIN = dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2])
#: Backbone, and what its head takes.
BACKBONES = {
    'MaskAny': (dict(type='mmmaskany.MaskAny', backbone=dict(type='mmpretrain.ResNet', depth=18)), 512),
    'MaskAny, fused late': (
        dict(type='mmmaskany.MaskAny', backbone=dict(type='mmpretrain.ResNet', depth=18), fuse_at='levels'),
        512,
    ),
    'MaskResNet': (dict(type='mmmaskany.MaskResNet', depth=18, base_channels=16, stem_channels=16), 128),
    'MaskViT': (dict(type='mmmaskany.MaskVisionTransformer', arch=VIT, img_size=64, drop_path_rate=0.5), 16),
    'MaskSwin': (dict(type='mmmaskany.MaskSwinTransformer', arch=SWIN, window_size=4, out_indices=(1,)), 16),
    'MaskEfficientNetV2': (dict(type='mmmaskany.MaskEfficientNetV2', arch='b0'), 1280),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


def classifier(name, **options):
    backbone, channels = copy.deepcopy(BACKBONES[name])
    head = dict(type='LinearClsHead', num_classes=3, in_channels=channels)
    neck = None if 'ViT' in name else dict(type='GlobalAveragePooling')
    model = MODELS.build(dict(type='ImageClassifier', backbone=dict(backbone, **options), neck=neck, head=head))
    model.init_weights()
    return model


@pytest.mark.parametrize('name', BACKBONES)
def test_only_the_head_changes(name, recwarn):
    model = classifier(name, masking=GRID, frozen=True)
    assert not [warning for warning in recwarn if 'frozen_stages' in str(warning.message)]  # it is meant so
    optimizer = dict(type='AdamW', lr=0.1, weight_decay=0.1)
    wrapper = build_optim_wrapper(model, ConfigDict(optimizer=optimizer))
    before = copy.deepcopy(model.state_dict())
    model.train()
    assert model.backbone.training  # images are masked
    images = torch.randn(4, 3, 64, 64)
    assert model.backbone.views(images).draw.masked.all()
    for _ in range(3):
        samples = [DataSample().set_gt_label(index % 3) for index in range(4)]
        model.train_step(dict(inputs=torch.randn(4, 3, 64, 64), data_samples=samples), wrapper)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.startswith('head.')} != set()
    assert all(parameter.requires_grad == key.startswith('head.') for key, parameter in model.named_parameters())

    # Neither dropout nor drop path: of the same pair of images, training and evaluation see the same features.
    views = model.backbone.views(images)
    features = model.backbone(views)[-1]
    model.eval()
    assert torch.equal(features, model.backbone(views)[-1])
    model.train()
    assert not any(module.training for module in model.backbone.children())


def test_without_the_option_all_of_it_changes():
    model = classifier('MaskResNet')
    wrapper = build_optim_wrapper(model, ConfigDict(optimizer=dict(type='SGD', lr=0.1)))
    before = copy.deepcopy(model.state_dict())
    model.train()
    model.train_step(
        dict(inputs=torch.randn(2, 3, 64, 64), data_samples=[DataSample().set_gt_label(each) for each in (0, 1)]),
        wrapper,
    )
    assert all(parameter.requires_grad for parameter in model.parameters())
    stems = [key for key in before if '.stem.' in key and not key.endswith('_extra_state')]
    assert stems and not any(torch.equal(before[key], model.state_dict()[key]) for key in stems)
