# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The maps are compared with Grad-CAM worked out by hand, on small networks with random weights."""

import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from shipped import ROOT, shrink

from mmmaskany.analysis.cam import Explainer, as_map, cam_class, default_layer, stem_maps

BACKBONES = {
    'ResNet': (dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8), 64, 'layer4'),
    'ConvNeXt': (
        dict(type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[8, 8, 16, 16])),
        16,
        'stages.3',
    ),
    'Swin': (
        dict(
            type='mmpretrain.SwinTransformer',
            arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2]),
            window_size=4,
            out_indices=(1,),
            img_size=(64, 96),
        ),
        16,
        'norm1',
    ),
    'ViT': (
        dict(
            type='mmpretrain.VisionTransformer',
            arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
            img_size=(64, 96),
        ),
        16,
        'layers.1.ln1',
    ),
    'DeiT': (
        dict(
            type='mmpretrain.DistilledVisionTransformer',
            arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
            img_size=(64, 96),
        ),
        16,
        'layers.1.ln1',
    ),
}


def classifier(name):
    backbone, channels, layer = BACKBONES[name]
    model = dict(
        type='ImageClassifier',
        backbone=dict(type='mmmaskany.MaskAny', backbone=backbone),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=channels, loss=dict(type='CrossEntropyLoss')),
    )
    if name in ('ResNet', 'Swin'):
        model['neck'] = dict(type='GlobalAveragePooling')
    if 'iT' in name:
        model['head'] = dict(type='VisionTransformerClsHead', num_classes=5, in_channels=channels)
    if name == 'DeiT':
        model['head']['type'] = 'DeiTClsHead'
    torch.manual_seed(1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(model)
        model.init_weights()
    for name, parameter in model.named_parameters():
        if 'head' in name and parameter.ndim > 1:  # ViT's starts at zero
            torch.nn.init.normal_(parameter)
    return model, f'backbone.{layer}'


def by_hand(features, gradients, size):
    """Grad-CAM of a map ``(C, h, w)``: weighted by the mean gradients, cut off at zero, and scaled to [0, 1], twice."""
    heat = (features * gradients.mean((1, 2), keepdim=True)).sum(0).clamp(min=0).detach().numpy()
    for _ in range(2):
        heat = (heat - heat.min()) / (1e-7 + (heat - heat.min()).max())
        heat = cv2.resize(np.float32(heat), size[::-1])
    return heat


@pytest.mark.parametrize('name', BACKBONES)
def test_classifiers_of_every_kind_of_features(name):
    model, layer = classifier(name)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    explainer = Explainer(model)
    found = explainer(images, DataSample().set_gt_label(3))
    assert explainer.task == 'classification' and explainer.layer == layer

    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, args, out: kept.append(out))
    logits = model(images, mode='tensor')[0]
    handle.remove()
    (gradients,) = torch.autograd.grad(logits[3], kept[0])
    features, gradients = kept[0][0], gradients[0]
    if features.ndim == 2:  # tokens of patches of 16 or, after one merging, 8 px, in the order of the image
        rows, cols = (4, 6) if 'iT' in name else (8, 12)
        first = len(features) - rows * cols
        assert first == {'Swin': 0, 'ViT': 1, 'DeiT': 2}[name]
        features, gradients = (part[first:].T.reshape(-1, rows, cols) for part in (features, gradients))
    expected = by_hand(features, gradients, (64, 96))
    np.testing.assert_allclose(found.cam, expected, atol=1e-4)
    assert found.cam.shape == (64, 96) and found.cam.max() > 0.5
    assert found.label == 3 and found.predicted == int(logits.argmax())
    assert found.score == pytest.approx(logits.softmax(-1)[3].item(), abs=1e-5)
    assert not any(module._forward_hooks for module in model.modules())

    other = explainer(images, DataSample().set_gt_label(3), 'pred')
    assert other.label == found.predicted
    assert explainer(images, DataSample(), 'gt').label == found.predicted  # no annotation
    assert explainer(images, DataSample(), 1).label == 1
    with pytest.raises(ValueError, match=r'the class must be in 0\.\.4, but got 7'):
        explainer(images, DataSample(), 7)


def test_layers_by_name():
    model, _ = classifier('ResNet')
    images = torch.randn(1, 3, 64, 64)
    deep, shallow = (
        Explainer(model, layer)(images, DataSample(), 0).cam for layer in ('backbone.layer3', 'backbone.maxpool.fusion')
    )
    assert np.abs(deep - shallow).max() > 0.1
    with pytest.raises(
        ValueError, match="layer must name a module of the model, but got 'backbone.layer9'; backbone has"
    ):
        Explainer(model, 'backbone.layer9')
    with pytest.raises(ValueError, match='neck must have a say|must return a tensor, but got tuple'):
        Explainer(model, 'neck')(images, DataSample(), 0)
    vit, _ = classifier('ViT')
    with pytest.raises(ValueError, match='must return a map'):
        Explainer(vit, 'head.layers.head')(torch.randn(1, 3, 64, 96), DataSample(), 0)


def test_tokens_and_maps_are_laid_out():
    grid = torch.arange(2 * 6).view(1, 12, 1).float().expand(1, 12, 5)
    for extra in range(3):
        tokens = torch.cat([torch.full((1, extra, 5), -1.0), grid], 1)
        assert torch.equal(as_map(tokens, (30, 96), extra), grid.permute(0, 2, 1).view(1, 5, 2, 6))
    last = torch.rand(1, 4, 6, 32)
    assert torch.equal(as_map(last, (64, 96)), last.permute(0, 3, 1, 2))
    first = torch.rand(1, 32, 4, 6)
    assert as_map(first, (64, 96)) is first
    with pytest.raises(ValueError, match=r'of an image of 64 x 64 px, but got \(1, 13, 5\)'):
        as_map(torch.rand(1, 13, 5), (64, 64))


def build(config):
    """Build a shipped detector or segmentor, small."""
    cfg = Config.fromfile(ROOT / f'configs/{config}.py')
    model, _ = shrink(cfg.model.to_dict())
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(ConfigDict(model))


@pytest.mark.parametrize('config', ['mask-rcnn_maskany-r18-narrow_fpn_8e_digits', 'retinanet_maskany-r50_fpn_1x_coco'])
def test_detectors_of_two_stages_and_of_one(config):
    from mmdet.models.dense_heads import base_dense_head
    from mmdet.structures import DetDataSample

    select = base_dense_head.select_single_mlvl
    model = build(f'detection/{config}')
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    sample = DetDataSample(metainfo=dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0)))
    sample.set_metainfo(dict(batch_input_shape=(64, 96), pad_shape=(64, 96)))
    layer = None
    if 'retinanet' in config:  # its classes start at a probability of 0.01, and its last map is all against them
        model.test_cfg.score_thr, layer = 0, 'backbone.layer3'
    explainer = Explainer(model, layer, score=0.0)
    found = explainer(images, sample)
    assert explainer.task == 'detection' and explainer.layer == (layer or 'backbone.layer4')
    assert found.cam.shape == (64, 96) and found.cam.max() > 0.9 and found.cam.min() >= 0
    assert base_dense_head.select_single_mlvl is select

    # What is explained is what the detector finds.
    with torch.no_grad():
        detections = model.predict(images, [sample], rescale=False)[0].pred_instances
    np.testing.assert_allclose(found.boxes, detections.bboxes.numpy(), atol=1e-3)
    assert found.score == pytest.approx(detections.scores.max().item(), abs=1e-5) and found.label is None
    label = int(detections.labels[0])
    one = explainer(images, sample, label)
    assert len(one.boxes) == int((detections.labels == label).sum()) and one.label == label
    explainer.score = 2.0  # no detection is as good: the best one stays
    assert len(explainer(images, sample).boxes) == 1
    nothing = explainer(images, sample, 1000)
    assert not nothing.cam.any() and nothing.score is None and len(nothing.boxes) == 0


def test_segmentors_explain_one_region():
    from mmseg.structures import SegDataSample

    model = build('segmentation/maskany-r18-narrow_sem-fpn_1xb8-300_digits-96x96')
    model.dataset_meta = dict(classes=('background', *'0123456789'))
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    truth = torch.zeros(1, 64, 96, dtype=torch.long)  # most is background, which is not asked for
    truth[:, :8, :8], truth[:, 20:40, 20:50], truth[:, 60:] = 2, 4, 255
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96))
    sample = SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=truth))
    explainer = Explainer(model)
    found = explainer(images, sample)
    assert explainer.task == 'segmentation' and found.label == 4
    np.testing.assert_array_equal(found.region, truth[0] == 4)

    kept = []
    handle = model.backbone.layer4.register_forward_hook(lambda _, args, out: kept.append(out))
    logits = model.encode_decode(images, [meta])[0]
    handle.remove()
    (gradients,) = torch.autograd.grad(logits[4][truth[0] == 4].mean(), kept[0])
    np.testing.assert_allclose(found.cam, by_hand(kept[0][0], gradients[0], (64, 96)), atol=1e-4)
    assert found.score == pytest.approx(logits.softmax(0)[4][truth[0] == 4].mean().item(), abs=1e-5)

    predicted = explainer(images, sample, 'pred')
    np.testing.assert_array_equal(predicted.region, logits.argmax(0) == predicted.label)
    assert explainer(images, sample, 9).label in (9, None)


def test_stems_and_their_fusion():
    model, _ = classifier('ResNet')
    images = torch.randn(1, 3, 64, 64)
    maps = stem_maps(model, lambda: model(images, mode='tensor'))
    assert {name: part.shape for name, part in maps.items()} == dict.fromkeys(
        ('visible stem', 'reused stem', 'fusion'), (16, 16)
    )
    model.backbone.dual_stem.fusion.silence()
    silent = stem_maps(model, lambda: model(images, mode='tensor'))
    np.testing.assert_array_equal(silent['fusion'], silent['visible stem'])
    np.testing.assert_array_equal(silent['reused stem'], maps['reused stem'])
    assert np.abs(maps['fusion'] - maps['visible stem']).max() > 0.1
    model.backbone = torch.nn.Identity()
    with pytest.raises(ValueError, match='must have a second stem, but Identity has none'):
        stem_maps(model, lambda: None)


def test_what_cannot_be_explained_is_said(monkeypatch):
    with pytest.raises(ValueError, match=r"method must be one of \['gradcam', .*but got 'cam'"):
        cam_class('cam')
    with pytest.raises(ValueError, match='must be a classifier, a detector or a segmentor, but got Linear'):
        Explainer(torch.nn.Linear(1, 1))
    model, _ = classifier('ResNet')
    model.backbone = torch.nn.Identity()
    with pytest.raises(ValueError, match='no layer of Identity returns a map'):
        default_layer(model, lambda: None)
    monkeypatch.setitem(sys.modules, 'pytorch_grad_cam', None)
    with pytest.raises(ImportError, match=r"needs the grad-cam library .* the extra 'vis' brings"):
        Explainer(model)
