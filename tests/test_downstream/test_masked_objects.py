# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Detectors and segmentors that mask their images: what they see, and what becomes of hidden objects and pixels."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from shipped import ROOT, load, shrink

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from mmdet.models.detectors import FasterRCNN, MaskRCNN, RetinaNet
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmseg.structures import SegDataSample

from mmmaskany.engine.checks.pipeline import check_ignored
from mmmaskany.masking import Draw, RankedPattern, Views

NARROW = dict(type='mmdet.ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3))
LEVELS = [8, 16, 32, 64]
SHAPES = dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64), batch_input_shape=(64, 64))


class LeftHalf(RankedPattern):
    """Masks the left half of every image."""

    needs = ()

    def rank(self, batch, rows, cols, generator, device):
        return -torch.arange(cols, device=device).float().expand(batch, rows, cols)


#: Of the boxes below the first one loses all, the second half, the third nothing.
LEFT = dict(type=LeftHalf, ratio=0.5, cell=8, base=8)
BOXES = torch.tensor([[0.0, 0.0, 30.0, 40.0], [22.0, 0.0, 42.0, 40.0], [40.0, 10.0, 64.0, 40.0]])


def boxes_of(*indices):
    return BOXES[list(indices)].tolist()


def detector(name, **changes):
    path = {
        'RetinaNet': 'mmdet::_base_/models/retinanet_r50_fpn.py',
        'FasterRCNN': 'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
        'MaskRCNN': 'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    }[name]
    cfg, _ = shrink(load(path).model.to_dict())
    cfg.pop('init_cfg', None)
    cfg.update(backbone=NARROW, type='mmmaskany.MaskedDetector', host=f'mmdet.{name}')
    cfg['neck']['in_channels'] = LEVELS
    cfg.update(copy.deepcopy(changes))
    return cfg


def minding(cfg, threshold=0.5):
    """Let all assigners of a config mind ignored boxes."""
    parts = [cfg['train_cfg'], *(part for part in cfg['train_cfg'].values() if isinstance(part, dict))]
    for part in parts:
        if 'assigner' in part:
            part['assigner']['ignore_iof_thr'] = threshold
    return cfg


def build(cfg, scope='mmdet'):
    from mmengine.config import Config

    init_default_scope(scope)
    torch.manual_seed(0)
    return MODELS.build(Config(cfg)._cfg_dict).train()


def batch(masks=False, count=2):
    samples = []
    for _ in range(count):
        sample = DetDataSample(metainfo=dict(SHAPES, scale_factor=(1.0, 1.0)))
        sample.gt_instances = InstanceData(bboxes=BOXES.clone(), labels=torch.arange(3))
        if masks:
            each = np.zeros((3, 64, 64), np.uint8)
            for mask, (left, top, right, bottom) in zip(each, BOXES.int().tolist(), strict=True):
                mask[top:bottom, left : (left + right) // 2] = 1  # the left half of its box
            sample.gt_instances.masks = BitmapMasks(each, 64, 64)
        sample.ignored_instances = InstanceData(bboxes=torch.tensor([[1.0, 50.0, 9.0, 60.0]]))
        samples.append(sample)
    return torch.randn(count, 3, 64, 64), samples


def targets(model, monkeypatch, masks=False):
    """Run a loss, and return what the host's own loss was given, and what came back."""
    seen = {}
    host = next(cls for cls in type(model).__mro__ if cls.__module__.startswith('mmdet.'))
    own = host.loss

    def look(self, inputs, samples):
        seen.update(inputs=inputs, samples=samples)
        return own(self, inputs, samples)

    monkeypatch.setattr(host, 'loss', look)
    images, samples = batch(masks)
    before = [sample.gt_instances.bboxes.clone() for sample in samples]
    losses = model(images, samples, mode='loss')
    for sample, boxes in zip(samples, before, strict=True):  # the caller's are as they were
        assert torch.equal(sample.gt_instances.bboxes, boxes) and len(sample.ignored_instances) == 1
    return images, seen, losses


# ---------------------------------------------------------------------- detectors


@pytest.mark.parametrize(('name', 'cls'), [('RetinaNet', RetinaNet), ('FasterRCNN', FasterRCNN)])
@pytest.mark.parametrize(
    ('policy', 'min_visible', 'kept', 'ignored'),
    [
        ('keep', 0.6, (0, 1, 2), ()),
        ('drop', 0.6, (2,), ()),
        ('drop', 0.4, (1, 2), ()),
        ('ignore', 0.6, (2,), (0, 1)),
        ('ignore', 0.4, (1, 2), (0,)),
    ],
)
def test_policies_of_hidden_objects(name, cls, policy, min_visible, kept, ignored, monkeypatch):
    objects = dict(policy=policy, min_visible=min_visible)
    model = build(minding(detector(name, masking=dict(pattern=LEFT, reuse=False), objects=objects)))
    assert isinstance(model, cls) and type(model).__name__ == f'Masked{name}'
    images, seen, losses = targets(model, monkeypatch)
    expected = images.clone()
    expected[..., :32] = 0
    assert torch.equal(seen['inputs'], expected)
    for sample in seen['samples']:
        assert sample.gt_instances.bboxes.tolist() == boxes_of(*kept)
        assert sample.gt_instances.labels.tolist() == list(kept)
        assert sample.ignored_instances.bboxes.tolist() == [[1, 50, 9, 60], *boxes_of(*ignored)]
    assert losses['masked_share'] == 0.5
    if policy != 'keep':
        torch.testing.assert_close(losses['hidden_objects'], torch.tensor(1 - len(kept) / 3))
    total, _ = model.parse_losses(losses)
    plain = sum(sum(value) if isinstance(value, list) else value for key, value in losses.items() if 'loss' in key)
    torch.testing.assert_close(total, plain)
    total.backward()


def test_ignored_objects_are_neither_targets_nor_background():
    # RetinaNet has an anchor at every place: those of ignored boxes do not count.
    weights = {}
    for policy in ('keep', 'ignore', 'drop'):
        objects = dict(policy=policy, min_visible=0.6)
        model = build(minding(detector('RetinaNet', masking=dict(pattern=LEFT, reuse=False), objects=objects)))
        head, counts = model.bbox_head, []
        own = head.get_targets
        head.get_targets = lambda *args, own=own, counts=counts, **kw: counts.append(own(*args, **kw)) or counts[-1]
        model(*batch(), mode='loss')
        labels, label_weights = counts[0][0], counts[0][1]
        flat = torch.cat([each.flatten() for each in labels]), torch.cat([each.flatten() for each in label_weights])
        weights[policy] = [int((flat[0] < 80).sum()), int((flat[1] > 0).sum())]
    (kept, all_kept), (ignored, some), (dropped, all_dropped) = weights.values()
    assert kept > ignored == dropped and all_dropped >= all_kept > some


def test_objects_by_their_masks(monkeypatch):
    objects = dict(policy='drop', min_visible=0.4, by='masks')
    model = build(detector('MaskRCNN', masking=dict(pattern=LEFT, reuse=False), objects=objects))
    assert isinstance(model, MaskRCNN)
    _, seen, losses = targets(model, monkeypatch, masks=True)
    for sample in seen['samples']:  # of the second object, half of the box, the visible half has no mask
        assert sample.gt_instances.labels.tolist() == [2]
        assert sample.gt_instances.masks.masks.sum() == 12 * 30
    assert losses['loss_mask'].isfinite()


def test_spared_objects(monkeypatch):
    objects = dict(policy='spare', min_visible=0.5, min_area=25 * 35)
    model = build(detector('FasterRCNN', masking=dict(pattern=LEFT, reuse=False), objects=objects))
    images, seen, losses = targets(model, monkeypatch)
    hidden = seen['inputs'] != images
    for sample in seen['samples']:
        assert len(sample.gt_instances) == 3
    for mask in hidden.any(1):
        first, second, third = (
            mask[top:bottom, left:right].float().mean().item() for left, top, right, bottom in BOXES.int().tolist()
        )
        assert first <= 0.5 and second == 0 and third == 0  # the last two are small
    assert losses['hidden_objects'] == 0
    torch.testing.assert_close(losses['masked_share'], hidden.any(1).float().mean())


@pytest.mark.parametrize('fuse_at', ['stem', 'levels'])
def test_with_reuse_objects_are_kept(fuse_at, monkeypatch):
    backbone = dict(type='mmmaskany.MaskAny', backbone=NARROW, fuse_at=fuse_at)
    pattern = dict(type='mmmaskany.GridPattern', scale=0.5, cell=8)
    model = build(detector('RetinaNet', backbone=backbone, masking=dict(pattern=pattern)))
    assert model.objects.policy == 'keep'
    images, seen, losses = targets(model, monkeypatch)
    visible, reused, draw = seen['inputs']
    assert isinstance(seen['inputs'], Views) and isinstance(draw, Draw)
    assert torch.equal(visible, images.masked_fill(draw.pixel_mask(64, 64), 0)) and reused.shape == (2, 3, 32, 32)
    assert losses['masked_share'] == 0.25
    lost = build(detector('RetinaNet', backbone=backbone, masking=dict(pattern=pattern, reuse=False)))
    assert lost.objects.policy == 'drop'


@pytest.mark.parametrize(('hide', 'classes'), [('inside', None), ('outside', None), ('inside', [2])])
def test_objects_guide_the_masks(hide, classes, monkeypatch):
    pattern = dict(type='mmmaskany.ObjectPattern', ratio=0.25, cell=8, hide=hide, classes=classes)
    model = build(detector('RetinaNet', masking=dict(pattern=pattern, reuse=False), objects='keep'))
    images, seen, losses = targets(model, monkeypatch)
    assert losses['masked_share'] == 0.25
    covered = torch.zeros(8, 8, dtype=torch.bool)  # cells with something of an object
    covered[:5, :6] = covered[1:5, 5:] = True
    for mask in F.max_pool2d((seen['inputs'] != images).any(1).float(), 8):
        assert mask.sum() == 16
        if classes:  # of the third object alone: whole cells, then those that it cuts
            assert mask[1:5, 5:].all()
        else:
            assert mask[covered].sum() == (16 if hide == 'inside' else 0)


def test_nothing_is_masked_at_test_time():
    model = build(detector('RetinaNet', masking=dict(pattern=LEFT, reuse=False), objects='drop'))
    host = detector('RetinaNet')
    del host['host']
    plain = build(dict(host, type='RetinaNet'))
    assert plain.state_dict().keys() == model.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    model.eval(), plain.eval()
    images, samples = batch()
    for mode in ('tensor', 'loss'):
        found, expected = (each(images, copy.deepcopy(samples), mode=mode) for each in (model, plain))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('reuse', ['aligned', 'in_place'])
def test_a_detector_puts_back_what_it_masks(reuse):
    pattern = dict(type='mmmaskany.GridPattern', scale=0.5, cell=8)
    backbone = dict(type='mmmaskany.MaskAny', backbone=NARROW)
    model = build(detector('RetinaNet', masking=dict(pattern=pattern, reuse=reuse), backbone=backbone))
    seen = []
    model.backbone.dual_stem.fusion.register_forward_pre_hook(lambda fusion, args: seen.append(args[1].detach()))
    losses = model(*batch(), mode='loss')
    assert sum(losses['loss_cls']).isfinite() and losses['masked_share'] == 0.25
    # Features of 4 px, of which an aligned stem's are 0 in all cells of 8 px that stay, and only there.
    cells = F.avg_pool2d(seen[0].abs(), 2).amax(1)
    assert cells.eq(0).float().mean() == (0.75 if reuse == 'aligned' else 0)


NO_REUSE = dict(pattern=LEFT, reuse=False)


@pytest.mark.parametrize(
    ('changes', 'error', 'match'),
    [
        (dict(objects='ignore'), ValueError, 'bbox_head.assigner of the .*RetinaNet, has ignore_iof_thr=-1: give'),
        (
            dict(objects=dict(policy='drop', min_visibel=0.5)),
            TypeError,
            "some of .*'min_visible'.*but got 'min_visibel'",
        ),
        (dict(objects='forget'), ValueError, "policy must be one of .* but got 'forget'"),
        (dict(masking=dict(NO_REUSE, reuse=True)), ValueError, 'reused view needs a pattern with a `scale`'),
        (
            dict(masking=dict(pattern=dict(type='mmmaskany.GridPattern', scale=0.5, cell=8))),
            ValueError,
            'needs a backbone that sees the reused image, as MaskAny is, but got ResNet: take reuse=False',
        ),
        (
            dict(masking=dict(NO_REUSE, pattern=dict(type='mmmaskany.RankedPattern', ratio=0.5))),
            ValueError,
            'scores here come from objects, but RankedPattern needs others: .*ObjectPattern is for MaskedDetector',
        ),
        (
            dict(backbone=dict(type='mmmaskany.MaskAny', backbone=NARROW, masking=NO_REUSE)),
            ValueError,
            'images are masked once, by masking of the MaskedRetinaNet, but MaskAnyResNet has a masking of its own',
        ),
        (
            dict(
                masking=dict(pattern=dict(type='mmmaskany.PatchPattern', scale=0.5), reuse='aligned'),
                backbone=dict(type='mmmaskany.MaskAny', backbone=NARROW, fuse_at='levels'),
            ),
            ValueError,
            "reuse='aligned' puts the features of a second stem back .* take fuse_at='stem'",
        ),
        (
            dict(masking=None),
            TypeError,
            r'masking must be a config dict\(pattern=.* but got None: give one, such as dict',
        ),
        (
            dict(host=None),
            TypeError,
            "host must be the type of the BaseDetector to build, .* but got None: give .*'mmdet.",
        ),
        (dict(host='mmdet.RetinNet'), KeyError, "but got 'mmdet.RetinNet' in .*did you mean mmdet.RetinaNet"),
        (dict(host='mmdet.FPN'), TypeError, 'host must be a BaseDetector, but got FPN'),
    ],
)
def test_bad_detectors(changes, error, match):
    with pytest.raises(error, match=match):
        cfg = {**detector('RetinaNet', masking=NO_REUSE), **changes}
        build({key: value for key, value in cfg.items() if key not in ('host', 'masking') or value is not None})


def test_assigners_that_know_no_ignored_boxes_are_refused():
    cfg, _ = shrink(load(ROOT / 'configs/detection/dino-4scale_r50_8xb2-12e_coco.py').model.to_dict())
    cfg['backbone'].pop('init_cfg', None)
    cfg.update(type='mmmaskany.MaskedDetector', host='mmdet.DINO', masking=NO_REUSE, objects='ignore')
    with pytest.raises(ValueError, match="HungarianAssigner.*knows none: take MaxIoUAssigner.*objects='drop'"):
        build(cfg)
    model = build(dict(cfg, objects='drop'))
    assert model.objects.policy == 'drop'


def test_a_policy_without_boxes_is_refused():
    model = build(detector('RetinaNet', masking=NO_REUSE, objects='drop'))
    images, samples = batch()
    del samples[1].gt_instances.bboxes
    with pytest.raises(ValueError, match=r"need gt_instances with bboxes, but got.*\['labels'\]"):
        model(images, samples, mode='loss')
    model = build(detector('RetinaNet', masking=NO_REUSE, objects=dict(policy='drop', by='masks')))
    with pytest.raises(ValueError, match='need gt_instances with masks'):
        model(*batch(), mode='loss')


# ---------------------------------------------------------------------- the pipeline


def results(masks=True):
    found = dict(
        img=np.full((64, 64, 3), 9, np.uint8),
        gt_bboxes=HorizontalBoxes(BOXES.clone()),
        gt_bboxes_labels=np.arange(3),
        gt_ignore_flags=np.zeros(3, bool),
    )
    if masks:
        polygons = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2])] for x1, y1, x2, y2 in BOXES.tolist()]
        found['gt_masks'] = PolygonMasks(polygons, 64, 64)
    return found


@pytest.mark.parametrize('by', ['boxes', 'masks'])
@pytest.mark.parametrize(
    ('policy', 'kept', 'ignored'), [('keep', (0, 1, 2), ()), ('drop', (1, 2), ()), ('ignore', (0, 1, 2), (0,))]
)
def test_objects_in_the_pipeline(by, policy, kept, ignored):
    transform = TRANSFORMS.build(
        dict(
            type='mmmaskany.MaskObjects',
            pattern=LEFT,
            fill=[1, 2, 3],
            objects=dict(policy=policy, min_visible=0.4, by=by),
        )
    )
    given = results()
    image = given['img']
    found = transform(given)
    assert (image == 9).all() and (found['img'][:, 32:] == 9).all()
    assert (found['img'][:, :32] == [1, 2, 3]).all() and found['masked_share'] == 0.5
    assert found['gt_bboxes'].tensor.tolist() == boxes_of(*kept)
    assert found['gt_bboxes_labels'].tolist() == list(kept) and len(found['gt_masks']) == len(kept)
    assert np.flatnonzero(found['gt_ignore_flags']).tolist() == list(ignored)
    # mmdet's packer takes ignored ones apart.
    init_default_scope('mmdet')
    packed = TRANSFORMS.build(dict(type='mmdet.PackDetInputs', meta_keys=()))(found)['data_samples']
    assert len(packed.gt_instances) == len(set(kept) - set(ignored))
    assert packed.ignored_instances.bboxes.tensor.tolist() == boxes_of(*ignored)


def test_objects_are_spared_in_the_pipeline():
    objects = dict(policy='spare', min_visible=0.75, min_area=0)
    transform = TRANSFORMS.build(dict(type='mmmaskany.MaskObjects', pattern=LEFT, objects=objects))
    found = transform(results(masks=False))
    for left, top, right, bottom in BOXES.int().tolist():
        assert (found['img'][top:bottom, left:right, 0] == 9).mean() >= 0.75
    assert (found['img'] == 0).mean() == found['masked_share']
    # Ignored objects, such as crowds, are not spared, and stay ignored where others are dropped.
    given = results(masks=False)
    given['gt_ignore_flags'][:2] = True
    assert (transform(given)['img'][:, :32] == 0).all()
    drop = TRANSFORMS.build(dict(type='mmmaskany.MaskObjects', pattern=LEFT))
    assert drop.objects.policy == 'drop' and len(drop(given)['gt_bboxes']) == 3


def test_bad_pipelines():
    transform = TRANSFORMS.build(dict(type='mmmaskany.MaskObjects', pattern=LEFT))
    with pytest.raises(KeyError, match="objects='drop' by boxes needs gt_bboxes, but got .'img'.*take objects='keep'"):
        transform(dict(img=results()['img']))
    dataset = type('Dataset', (), {})()
    dataset.pipeline = [TRANSFORMS.build(dict(type='mmmaskany.MaskObjects', pattern=LEFT, objects='ignore'))]
    model = build(dict(detector('RetinaNet', masking=NO_REUSE)))
    with pytest.raises(ValueError, match='train_dataloader: .*has ignore_iof_thr=-1: give ignore_iof_thr=0.5'):
        check_ignored(model, dataset, 'train_dataloader')
    check_ignored(build(minding(detector('RetinaNet', masking=NO_REUSE))), dataset, 'train_dataloader')


# ---------------------------------------------------------------------- segmentors


def segmentor(**changes):
    head = dict(type='FCNHead', in_channels=64, in_index=3, channels=4, num_convs=0, num_classes=5, dropout_ratio=0.0)
    head.update(concat_input=False, loss_decode=dict(type='CrossEntropyLoss'))
    backbone = dict(NARROW, type='mmseg.ResNet')
    cfg = dict(type='mmmaskany.MaskedSegmentor', masking=dict(pattern=LEFT, reuse=False), backbone=backbone)
    head['in_channels'] = head['channels'] = 64
    cfg.update(decode_head=head, auxiliary_head=dict(head, in_index=2, in_channels=32, channels=32))
    return {**cfg, **changes}


def labelled():
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        labels = torch.randint(5, (1, 64, 64), generator=generator)
        labels[:, :9] = 255
        sample = SegDataSample(metainfo=dict(img_shape=(64, 64)))
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return torch.randn(2, 3, 64, 64, generator=generator), samples


@pytest.mark.parametrize('weight', [1.0, 0.3, 0.0])
def test_weight_of_hidden_pixels(weight):
    model = build(segmentor(hidden_weight=weight), 'mmseg')
    assert type(model).__name__ == 'MaskedEncoderDecoder'
    images, samples = labelled()
    before = [sample.gt_sem_seg.data.clone() for sample in samples]
    seen = {}
    for name in ('decode_head', 'auxiliary_head'):
        getattr(model, name).conv_seg.register_forward_hook(lambda m, args, out, name=name: seen.update({name: out}))
    losses = model(images, samples, mode='loss')
    labels = torch.stack(before)[:, 0]
    weights = torch.ones(64, 64)
    weights[:, :32] = weight
    for name, key in (('decode_head', 'decode.loss_ce'), ('auxiliary_head', 'aux.loss_ce')):
        score = F.interpolate(seen[name], (64, 64), mode='bilinear', align_corners=False)
        each = F.cross_entropy(score, labels, ignore_index=255, reduction='none')
        torch.testing.assert_close(losses[key], (each * weights).mean())
    assert all(torch.equal(sample.gt_sem_seg.data, labels) for sample, labels in zip(samples, before, strict=True))
    assert model.decode_head.sampler is None
    model.eval()
    plain = {k: v for k, v in segmentor(type='mmseg.EncoderDecoder').items() if k != 'masking'}
    host = build(plain, 'mmseg').eval()
    host.load_state_dict(model.state_dict())
    assert torch.equal(model(images), host(images))


@pytest.mark.parametrize(('hide', 'classes'), [('inside', None), ('outside', None), ('inside', [1, 3])])
def test_regions_guide_the_masks(hide, classes):
    pattern = dict(type='mmmaskany.ObjectPattern', ratio=0.25, cell=8, hide=hide, classes=classes)
    model = build(segmentor(masking=dict(pattern=pattern, reuse=False), auxiliary_head=None), 'mmseg')
    images, samples = labelled()
    labels = torch.full((1, 64, 64), 255)
    labels[:, 16:48, 8:] = 4
    labels[:, 32:48, 8:40] = 1
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=labels.clone())
    seen = []
    model.backbone.register_forward_pre_hook(lambda backbone, args: seen.append(args[0]))
    model(images, samples, mode='loss')
    region = torch.isin(labels, torch.tensor(classes or [1, 4]))[0, ::8, ::8]
    for mask in F.max_pool2d((seen[0] != images).any(1).float(), 8):
        assert mask.sum() == 16
        assert mask[region].sum() == {'inside': min(16, int(region.sum())), 'outside': 0}[hide]


def test_a_sampler_of_pixels_still_samples():
    cfg = segmentor(hidden_weight=0.5, auxiliary_head=None)
    cfg['decode_head']['sampler'] = dict(type='OHEMPixelSampler', thresh=None, min_kept=100)
    model = build(cfg, 'mmseg')
    seen = []
    own = model.decode_head.sampler.sample
    model.decode_head.sampler.sample = lambda *args: seen.append(own(*args)) or seen[-1]
    losses = model(*labelled(), mode='loss')
    assert seen[0].sum() == 200 and losses['decode.loss_ce'] > 0


@pytest.mark.parametrize(
    ('changes', 'error', 'match'),
    [
        (dict(hidden_weight=1.5), ValueError, r'hidden_weight must be in \[0, 1\], but got 1.5'),
        (dict(objects='drop'), TypeError, 'objects'),
        (
            dict(masking=None),
            TypeError,
            r'masking must be a config dict\(pattern=.* but got None: give one, such as dict',
        ),
        (dict(host='mmseg.EncodeDecoder'), KeyError, 'did you mean mmseg.EncoderDecoder'),
        (dict(masking=dict(pattern=dict(type='mmmaskany.PatchPattern', scale=0.5))), ValueError, 'take reuse=False'),
        (
            dict(hidden_weight=0.5, decode_head=dict(loss_decode=dict(type='LovaszLoss', reduction='none'))),
            ValueError,
            'these be CrossEntropyLoss, but got FCNHead with LovaszLoss: take 0, which ignores hidden pixels, or 1',
        ),
        (dict(hidden_weight=0, decode_head=dict(ignore_index=None)), ValueError, 'needs one ignore_index in all heads'),
    ],
)
def test_bad_segmentors(changes, error, match):
    cfg = segmentor()
    cfg['decode_head'].update(changes.pop('decode_head', {}))
    with pytest.raises(error, match=match):
        cfg = {**cfg, **changes}
        build({key: value for key, value in cfg.items() if key != 'masking' or value is not None}, 'mmseg')
