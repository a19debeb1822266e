# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The promised detection and segmentation configs build, take a checkpoint of the classifier, and train."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture(scope='module')
def classifier_checkpoint(tmp_path_factory):
    """A checkpoint of the classifier of configs/maskany_r50_in1k.py."""
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / 'maskany_r50_in1k.py')
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    model.init_weights()
    path = tmp_path_factory.mktemp('in1k') / 'epoch_100.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path, model.backbone.state_dict()


def build(name, scope, checkpoint):
    pytest.importorskip(scope)
    cfg = Config.fromfile(CONFIGS / name)
    cfg.merge_from_dict({'model.backbone.init_cfg.checkpoint': str(checkpoint)})
    init_default_scope(scope)
    model = MODELS.build(Config(_bn(cfg.model.to_dict())))
    model.init_weights()
    model.train()
    return model


def _bn(cfg):
    """SyncBN needs processes; here it is BN."""
    if isinstance(cfg, dict):
        return {key: 'BN' if key == 'type' and value == 'SyncBN' else _bn(value) for key, value in cfg.items()}
    return [_bn(value) for value in cfg] if isinstance(cfg, (list, tuple)) else cfg


def check_filled(model, state):
    own = model.backbone.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[key], value) for key, value in state.items())


def check_trains(model, losses):
    total, logs = model.parse_losses(losses)
    assert torch.isfinite(total)
    total.backward()
    # The shortcut: the residual branches start at zero.
    assert model.backbone.layer4[0].downsample[0].weight.grad.any()


def test_mask_rcnn_on_coco(classifier_checkpoint):
    path, state = classifier_checkpoint
    model = build('maskany_r50_mask-rcnn_coco.py', 'mmdet', path)
    check_filled(model, state)
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    samples = []
    for height, width in ((96, 128), (80, 112)):
        sample = DetDataSample(
            metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
        )
        masks = np.zeros((1, height, width), dtype=np.uint8)
        masks[:, 10:60, 20:70] = 1
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[20.0, 10.0, 70.0, 60.0]]),
            labels=torch.tensor([3]),
            masks=BitmapMasks(masks, height, width),
        )
        samples.append(sample)
    images = [torch.randint(0, 256, (3, *sample.img_shape), dtype=torch.uint8) for sample in samples]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    assert data['inputs'].shape == (2, 3, 96, 128)
    check_trains(model, model(**data, mode='loss'))
    # As mmdet freezes the stem of a plain ResNet, both stems are frozen.
    assert all(not parameter.requires_grad for parameter in model.backbone.stem.parameters())
    model.eval()
    with torch.no_grad():
        results = model(**model.data_preprocessor(dict(inputs=images, data_samples=samples)), mode='predict')
    assert len(results) == 2


def test_upernet_on_ade20k(classifier_checkpoint):
    path, state = classifier_checkpoint
    model = build('maskany_r50_upernet_ade20k.py', 'mmseg', path)
    check_filled(model, state)
    from mmseg.structures import SegDataSample

    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 150, (1, 64, 64)))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in samples]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    assert data['inputs'].shape == (2, 3, 512, 512)  # padded to the size of the crop
    inputs, samples = data['inputs'][..., :64, :64], data['data_samples']
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data[..., :64, :64])
    check_trains(model, model(inputs, samples, mode='loss'))
    assert model.backbone.stem.reused.conv1.weight.grad.any() and model.backbone.stem.visible.conv1.weight.grad.any()
    model.eval()
    with torch.no_grad():
        results = model(inputs, mode='predict')
    assert results[0].pred_sem_seg.data.shape == (1, 64, 64)
