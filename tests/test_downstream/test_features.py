# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""One backbone in three libraries: the same features for the same weights and image, at every size that they make."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
NARROW = dict(depth=18, stem_channels=8, base_channels=8, out_indices=(0, 1, 2, 3))
LEVELS = [8, 16, 32, 64]
MASKING = dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8))


def maskany(library, **kwargs):
    """MaskAny around a library's own ResNet."""
    return dict(type='mmmaskany.MaskAny', backbone=dict(type=f'{library}.ResNet', **NARROW), **kwargs)


def maskresnet(library, **kwargs):
    return dict(type='mmmaskany.MaskResNet', **NARROW, **kwargs)


def late(library, **kwargs):
    return maskany(library, fuse_at='levels', **kwargs)


def branches(library, **kwargs):
    return maskany(library, fuse_at='neck', **kwargs)


def classifier(backbone):
    return dict(type='mmpretrain.ImageClassifier', backbone=backbone)


def detector(backbone):
    """mmdet's own RetinaNet; the neck of late fusion is put in front of its FPN."""
    model = get_config('mmdet::_base_/models/retinanet_r50_fpn.py').model
    inner = dict(model.neck, in_channels=LEVELS, out_channels=8)
    both = backbone.get('fuse_at') == 'neck'
    model.neck = dict(type='mmmaskany.MaskAnyNeck', in_channels=LEVELS, neck=inner) if both else inner
    model.backbone = backbone
    model.bbox_head.update(num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1)
    return model


def segmentor(backbone, **test_cfg):
    """mmseg's own UperNet; the neck of late fusion is put in front of its heads."""
    model = get_config('mmseg::_base_/models/upernet_r50.py').model
    model.backbone, model.pretrained = backbone, None
    if backbone.get('fuse_at') == 'neck':
        model.neck = dict(type='mmmaskany.MaskAnyNeck', in_channels=LEVELS)
    model.decode_head.update(in_channels=LEVELS, channels=8, num_classes=5, norm_cfg=dict(type='BN'))
    model.auxiliary_head.update(in_channels=32, channels=8, num_classes=5, norm_cfg=dict(type='BN'))
    model.test_cfg.update(test_cfg)
    return model


def build(scope, cfg):
    init_default_scope(scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def det_samples(sizes):
    from mmdet.structures import DetDataSample

    samples = []
    for size in sizes:
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[4.0, 4.0, 30.0, 28.0]]), labels=torch.tensor([len(samples) % 3])
        )
        samples.append(sample)
    return samples


def seg_samples(sizes):
    from mmseg.structures import SegDataSample

    samples = []
    for height, width in sizes:
        sample = SegDataSample(metainfo=dict(img_shape=(height, width), ori_shape=(height, width)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, height, width)))
        samples.append(sample)
    return samples


def images(sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes]


# ---------------------------------------------------------------------- the same features


@pytest.mark.parametrize('backbone', [maskany, maskresnet, late])
def test_features_are_those_of_the_classifier(backbone, tmp_path):
    source = build('mmpretrain', classifier(backbone('mmpretrain')))
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'classifier.pth')
    start = dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'classifier.pth'), prefix='backbone.'))
    models = [
        source,
        build('mmdet', detector(backbone('mmdet', **start))),
        build('mmseg', segmentor(backbone('mmseg', **start))),
    ]
    features = []
    for model in models:
        model.eval()
        with torch.no_grad():
            features.append(model.backbone(torch.randn(1, 3, 90, 122, generator=torch.Generator().manual_seed(1))))
    assert len(features[0]) == 4 and features[0][0].abs().sum() > 0
    for other in features[1:]:
        for level, expected in zip(other, features[0], strict=True):
            assert torch.equal(level, expected)


def test_shipped_configs_normalise_alike():
    raw, seen = images([(96, 128)])[0], []
    for entry, samples in (
        ('maskany_r50_in1k', None),
        ('maskany_r50_mask-rcnn_coco', det_samples),
        ('maskany_r50_upernet_ade20k', seg_samples),
    ):
        cfg = Config.fromfile(CONFIGS / f'{entry}.py')
        init_default_scope(cfg.default_scope)
        if samples is None:
            preprocessor = MODELS.build(dict(type='ClsDataPreprocessor', **cfg.data_preprocessor))
            data = dict(inputs=raw[None].clone())
        else:
            preprocessor = MODELS.build(cfg.model.data_preprocessor)
            preprocessor.size = None  # mmseg pads to its crop
            data = dict(inputs=[raw.clone()], data_samples=samples([(96, 128)]))
        seen.append(preprocessor(data, training=False)['inputs'])
    assert torch.equal(seen[1], seen[0]) and torch.equal(seen[2], seen[0])


# ---------------------------------------------------------------------- real sizes


def check_both_stems_learn(model, losses):
    total, _ = model.parse_losses(losses)
    assert torch.isfinite(total)
    total.backward()
    stem = model.backbone.dual_stem
    assert stem.reused.conv1.weight.grad.any()
    visible = stem.visible.conv1 if hasattr(stem.visible, 'conv1') else model.backbone.conv1
    assert visible.weight.grad.any()
    model.zero_grad()


@pytest.mark.parametrize('backbone', [maskany, maskresnet])
@pytest.mark.parametrize('masking', [None, MASKING], ids=['unmasked', 'masked'])
@pytest.mark.parametrize('sizes', [[(95, 61)], [(64, 128), (90, 70), (41, 33)]], ids=['odd', 'padded'])
def test_detector_at_any_size(backbone, masking, sizes):
    """One odd image alone, and images of three sizes and shapes that are padded to one."""
    model = build('mmdet', detector(backbone('mmdet', masking=masking)))
    model.train()
    data = model.data_preprocessor(dict(inputs=images(sizes), data_samples=det_samples(sizes)), True)
    height, width = (-(-max(side) // 32) * 32 for side in zip(*sizes, strict=True))
    assert data['inputs'].shape == (len(sizes), 3, height, width)
    check_both_stems_learn(model, model(**data, mode='loss'))


def test_detector_at_the_size_of_coco():
    model = build('mmdet', detector(maskany('mmdet'))).eval()
    model.bbox_head.test_cfg.score_thr = 0.0  # an untrained head is sure of nothing
    sizes, seen = [(800, 1333)], []
    model.backbone.dual_stem.register_forward_hook(lambda stem, args, output: seen.append(stem.reused_image.shape))
    data = model.data_preprocessor(dict(inputs=images(sizes), data_samples=det_samples(sizes)))
    with torch.no_grad():
        (result,) = model(**data, mode='predict')
    assert data['inputs'].shape == (1, 3, 800, 1344) and seen == [(1, 3, 400, 672)]
    boxes = result.pred_instances.bboxes
    assert len(boxes) and boxes.min() >= 0 and boxes[:, 2].max() <= 1333 and boxes[:, 3].max() <= 800


@pytest.mark.parametrize('backbone', [maskany, maskresnet])
def test_segmentor_at_any_size(backbone):
    for sizes in ([(65, 95)], [(64, 96), (64, 96)]):
        model = build('mmseg', segmentor(backbone('mmseg', masking=MASKING)))
        model.train()
        model.data_preprocessor.size = (96, 96)  # the crop that training pads to
        data = model.data_preprocessor(dict(inputs=images(sizes), data_samples=seg_samples(sizes)), True)
        assert data['inputs'].shape == (len(sizes), 3, 96, 96)
        if len(sizes) == 1:  # a batch norm behind a global pooling needs two samples
            model.decode_head.eval()
        check_both_stems_learn(model, model(**data, mode='loss'))
        model.eval()
        with torch.no_grad():
            results = model(torch.randn(len(sizes), 3, *sizes[0]), mode='predict')
        assert [result.pred_sem_seg.data.shape for result in results] == [(1, *size) for size in sizes]


def test_output_stride_8():
    dilated = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    for backbone in (
        dict(type='mmmaskany.MaskAny', backbone=dict(type='mmseg.ResNet', contract_dilation=True, **NARROW, **dilated)),
        dict(type='mmmaskany.MaskResNet', **NARROW, **dilated),
    ):
        model = build('mmseg', backbone).eval()
        with torch.no_grad():
            assert [level.shape[2:] for level in model(torch.randn(1, 3, 97, 65))] == [(25, 17), *[(13, 9)] * 3]


def test_sliding_window():
    """Each window is an image of its own, with its own reused view."""
    model = build('mmseg', segmentor(maskany('mmseg'), mode='slide', crop_size=(64, 64), stride=(32, 48))).eval()
    image = torch.randn(1, 3, 96, 150)
    metas = [dict(img_shape=(96, 150), ori_shape=(96, 150), pad_shape=(96, 150), padding_size=[0] * 4)]
    with torch.no_grad():
        slid = model.inference(image, metas)
        total, count = torch.zeros(1, 5, 96, 150), torch.zeros(96, 150)
        for top in (0, 32):
            for left in (0, 48, 86):
                window = ..., slice(top, top + 64), slice(left, left + 64)
                total[window] += model.encode_decode(image[window], metas)
                count[window[1:]] += 1
    torch.testing.assert_close(slid, total / count)


def test_masking_is_for_training_only():
    model = build('mmdet', detector(maskany('mmdet', masking=MASKING)))
    image = torch.randn(2, 3, 64, 96)

    def once():
        with torch.no_grad():
            return model.backbone(image)[0]

    model.train()
    assert not torch.equal(once(), once())
    model.eval()
    assert torch.equal(once(), once())
    # In training nothing is random without it. Batch statistics do not depend on what was seen before.
    model.backbone.masking = None
    model.train()
    assert torch.equal(once(), once())


def test_frozen_stem_of_the_host_is_named():
    frozen = dict(type='mmdet.ResNet', frozen_stages=1, **NARROW)
    with pytest.warns(UserWarning, match='masking is on, but the stem is frozen.*Set frozen_stages=-1'):
        build('mmdet', dict(type='mmmaskany.MaskAny', backbone=frozen, masking=MASKING))


# ---------------------------------------------------------------------- late fusion


@pytest.mark.parametrize('backbone', [late, branches])
def test_late_fusion_in_both_libraries(backbone):
    sizes = [(64, 96), (64, 96)]
    det = build('mmdet', detector(backbone('mmdet', masking=MASKING)))
    data = det.data_preprocessor(dict(inputs=images(sizes), data_samples=det_samples(sizes)), True)
    seg = build('mmseg', segmentor(backbone('mmseg', masking=MASKING)))
    seg.data_preprocessor.size = (64, 96)
    runs = [
        (det, data),
        (seg, seg.data_preprocessor(dict(inputs=images(sizes), data_samples=seg_samples(sizes)), True)),
    ]
    for model, data in runs:
        model.train()
        total, _ = model.parse_losses(model(**data, mode='loss'))
        total.backward()
        # The reused levels reach the loss through the fusion, at all four levels (RetinaNet's FPN takes three).
        grads = [
            bool(fusion.scale.grad is not None and fusion.scale.grad.any())
            for fusion in model.backbone.fusions or model.neck.fusions
        ]
        assert grads == [model is seg, True, True, True]
        model.eval()
        with torch.no_grad():
            assert len(model(**model.data_preprocessor(data), mode='predict') if model is det else [0, 0]) == 2


def test_levels_of_two_images_are_refused_without_the_neck():
    """FPN, RetinaNet's head and UperNet's would else go on with the levels of one image."""
    image = torch.randn(1, 3, 64, 96)
    for model in (build('mmdet', detector(late('mmdet'))), build('mmseg', segmentor(late('mmseg')))):
        model.backbone = build('mmdet', branches('mmdet'))
        with pytest.raises(TypeError, match="fuse_at='neck' returns the levels of both images.*mmmaskany.MaskAnyNeck"):
            model(image, mode='tensor')
        model.neck = None
        with pytest.raises(TypeError, match="fuse_at='neck' returns the levels of both images.*mmmaskany.MaskAnyNeck"):
            model(image, mode='tensor')
