# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""MaskSub for detection: what both branches lose, for the same anchors and proposals, and what is refused."""

import copy
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from shipped import ROOT, load, shrink

pytest.importorskip('mmdet')

from mmdet.models.losses import CrossEntropyLoss, FocalLoss, L1Loss
from mmdet.registry import MODELS as MMDET_MODELS
from test_masked_objects import NARROW, batch, build, detector

from mmmaskany.engine import CpuAmpOptimWrapper
from mmmaskany.masking import half_size
from mmmaskany.models.detectors.relaxed_targets import Call, recording, relaxed_loss
from mmmaskany.models.sub_masking import SubMasking

FILL = dict(type='mmmaskany.FillCells', pattern=dict(type='mmmaskany.RandomPattern', ratio=0.5, cell=8, base=8))
HOSTS = ['RetinaNet', 'FasterRCNN', 'MaskRCNN']
#: The losses of each host by their names in the log.
LOSSES = {
    'RetinaNet': ['loss_cls', 'loss_bbox'],
    'FasterRCNN': ['loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'],
    'MaskRCNN': ['loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask'],
}


class Nothing(SubMasking):
    """Masks nothing."""

    @contextmanager
    def masked(self, backbone, images):
        yield images


def masksub(name, **changes):
    return build(detector(name, type='mmmaskany.MaskSubDetector', **{'sub_masking': FILL, **changes}))


def host(name):
    cfg = detector(name)
    del cfg['host']
    return build(dict(cfg, type=name))


def data_of(name):
    images, samples = batch(masks=name == 'MaskRCNN')
    return dict(inputs=images, data_samples=samples)


def wrap(model, kind=OptimWrapper, **kwargs):
    return kind(optimizer=torch.optim.SGD(model.parameters(), lr=0.01), **kwargs)


def total(value):
    return sum(value) if isinstance(value, list) else value


# ---------------------------------------------------------------------- the losses


def logits(target):
    return 1e4 * (2 * target.float() - 1)


def test_of_a_certain_teacher_it_is_the_loss_of_the_labels():
    torch.manual_seed(0)
    labels, weight = torch.randint(6, (8,)), torch.rand(8)  # 5 is the background
    one_hot = F.one_hot(labels, 6)
    pred = torch.randn(8, 5)
    for loss in (FocalLoss(loss_weight=2.0), CrossEntropyLoss(use_sigmoid=True)):
        found = relaxed_loss(loss, pred, Call(logits(one_hot[:, :5]), labels, weight, 3.0))
        torch.testing.assert_close(found, loss(pred, labels, weight, avg_factor=3.0))
    loss, pred = CrossEntropyLoss(loss_weight=0.5), torch.randn(8, 6)
    found = relaxed_loss(loss, pred, Call(logits(one_hot), labels, weight, 3.0))
    torch.testing.assert_close(found, loss(pred, labels, weight, avg_factor=3.0))
    loss, pred = CrossEntropyLoss(use_mask=True), torch.randn(8, 6, 4, 4)
    masks = torch.rand(8, 4, 4) > 0.5
    teacher = torch.where(one_hot.bool()[..., None, None], logits(masks)[:, None], torch.randn(8, 6, 4, 4))
    found = relaxed_loss(loss, pred, Call(teacher, masks.float(), labels, None))
    torch.testing.assert_close(found, loss(pred, masks.float(), labels))
    loss, (pred, boxes, weights) = L1Loss(loss_weight=3.0), torch.randn(3, 8, 4)
    found = relaxed_loss(loss, pred, Call(boxes, torch.zeros(8, 4), weights, 7.0))
    torch.testing.assert_close(found, loss(pred, boxes, weights, avg_factor=7.0))


def test_a_focal_loss_of_probabilities_by_hand():
    pred, teacher = torch.randn(2, 6, 3)
    target, share = teacher.sigmoid(), pred.sigmoid()
    each = -(target * share.log() + (1 - target) * (1 - share).log())
    each = each * (target - share) ** 2 * (0.25 * target + 0.75 * (1 - target))
    found = relaxed_loss(FocalLoss(), pred, Call(teacher, torch.zeros(6).long(), torch.ones(6), 2.0))
    torch.testing.assert_close(found, each.sum() / 2)


@pytest.mark.parametrize('name', HOSTS)
def test_the_main_branch_is_the_host(name):
    model, plain, data = masksub(name), host(name), data_of(name)
    assert type(model).__name__ == f'MaskSub{name}' and isinstance(model, type(plain))
    assert plain.state_dict().keys() == model.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    expected = plain.loss(*copy.deepcopy(data).values())
    torch.manual_seed(1)
    losses, scores = model.main_loss(**data)
    assert losses.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(total(losses[key]), (0.5 if 'loss' in key else 1) * total(value))
    sub = model.sub_loss(data['inputs'], scores, data['data_samples'])
    assert list(sub) == [f'sub.{key}' for key in LOSSES[name]]
    assert all(total(value) > 0 for value in sub.values())
    plain.eval(), model.eval()
    averaged = ExponentialMovingAverage(model, momentum=0.5).module.eval()
    outputs = [each(*copy.deepcopy(data).values()) for each in (plain, model, averaged)]
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(outputs[2], outputs[0])


@pytest.mark.parametrize('name', HOSTS)
def test_both_branches_have_the_same_anchors_and_proposals(name):
    # A mask of nothing: all predictions are the same, so boxes lose nothing, and classes the entropy.
    model, data = masksub(name, sub_masking=dict(type=Nothing)), data_of(name)
    losses, scores = model.main_loss(**data)
    again = {}
    with recording(model.criteria(), again):
        sub = model.sub_loss(data['inputs'], scores, data['data_samples'])
    for key, calls in scores['calls'].items():
        for one, other in zip(calls, again[key], strict=True):
            torch.testing.assert_close(one.pred, other.pred)
    for key in ('sub.loss_bbox', 'sub.loss_rpn_bbox'):
        assert key not in sub or total(sub[key]).abs() < 1e-6
    if name == 'RetinaNet':  # no focal loss without a difference
        assert total(sub['sub.loss_cls']).abs() < 1e-6
        return
    (call,) = scores['calls']['roi_head.bbox_head.loss_cls']
    share = call.pred.softmax(1)
    entropy = -(share * share.log()).sum(1)
    torch.testing.assert_close(sub['sub.loss_cls'], 0.5 * (entropy * call.weight).sum() / call.avg_factor)
    objectness = 0
    for call in scores['calls']['rpn_head.loss_cls']:
        share = call.pred.sigmoid()[:, 0]
        entropy = -(share * share.log() + (1 - share) * (1 - share).log())
        objectness = objectness + 0.5 * (entropy * call.weight).sum() / call.avg_factor
    torch.testing.assert_close(total(sub['sub.loss_rpn_cls']), objectness)
    if name == 'MaskRCNN':
        (call,) = scores['calls']['roi_head.mask_head.loss_mask']
        share = call.pred[torch.arange(len(call.pred)), call.weight].sigmoid()
        entropy = -(share * share.log() + (1 - share) * (1 - share).log()).mean()
        torch.testing.assert_close(sub['sub.loss_mask'], 0.5 * entropy[None])


def test_boxes_of_objects_alone_learn_those_of_the_main_branch():
    model, data = masksub('RetinaNet'), data_of('RetinaNet')
    _, scores = model.main_loss(**data)
    again = {}
    with recording(model.criteria(), again):
        sub = model.sub_loss(data['inputs'], scores, data['data_samples'])
    expected, assigned = 0, 0
    for main, own in zip(scores['calls']['bbox_head.loss_bbox'], again['bbox_head.loss_bbox'], strict=True):
        expected = expected + 0.5 * ((own.pred - main.pred).abs() * main.weight).sum() / main.avg_factor
        assigned += int(main.weight[:, 0].sum())
    torch.testing.assert_close(total(sub['sub.loss_bbox']), expected)
    assert 0 < assigned < sum(len(call.pred) for call in scores['calls']['bbox_head.loss_bbox'])


# ---------------------------------------------------------------------- the step


@pytest.mark.parametrize('name', ['RetinaNet', 'MaskRCNN'])
def test_two_passes_make_the_gradients_of_one(name):
    found = []
    for two_passes in (True, False):
        model = masksub(name, two_passes=two_passes)
        optim_wrapper = wrap(model, accumulative_counts=2)
        optim_wrapper.initialize_count_status(model, 0, 2)
        torch.manual_seed(3)
        logs = model.train_step(data_of(name), optim_wrapper)
        assert optim_wrapper.inner_count == 1
        keys = [key for key in logs if 'loss' in key and key != 'loss']
        assert set(keys) == {*LOSSES[name], *(f'sub.{key}' for key in LOSSES[name])}
        torch.testing.assert_close(logs['loss'], sum(logs[key] for key in keys))
        found.append({key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_mixed_precision():
    full, mixed = masksub('RetinaNet'), masksub('RetinaNet')  # mmcv's RoIAlign knows no bfloat16
    logs = []
    for model, kind in ((full, OptimWrapper), (mixed, CpuAmpOptimWrapper)):
        torch.manual_seed(0)
        logs.append(model.train_step(data_of('RetinaNet'), wrap(model, kind)))
    for key in ('loss', 'loss_cls', 'sub.loss_bbox'):
        torch.testing.assert_close(logs[1][key].float(), logs[0][key], rtol=0.1, atol=0.05)


def test_without_an_object_there_is_a_loss():
    model = masksub('MaskRCNN')
    data = data_of('MaskRCNN')
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    logs = model.train_step(data, wrap(model))
    assert logs['loss'].isfinite() and logs['sub.loss_cls'] > 0


def test_a_second_stem_sees_nothing_of_what_the_sub_branch_masks():
    backbone = dict(type='mmmaskany.MaskAny', backbone=NARROW)
    model, data, views = masksub('RetinaNet', backbone=backbone), data_of('RetinaNet'), []
    own = model.backbone.views
    model.backbone.views = lambda *args: views.append(own(*args)) or views[-1]
    model.train_step(data, wrap(model))
    (main, _, _), (sub, reused, _) = views
    assert torch.equal(sub, torch.where(sub == 0, 0, main)) and (sub == 0).float().mean() == 0.5
    assert torch.equal(reused, half_size(sub))


# ---------------------------------------------------------------------- bad input


def test_other_detectors_are_refused():
    init_default_scope('mmdet')
    for path, name in (
        ('detection/dino-4scale_r50_8xb2-12e_coco.py', 'DINO'),
        ('detection/cascade-mask-rcnn_r50_fpn_1x_coco.py', 'CascadeRCNN'),
    ):
        cfg, _ = shrink(load(ROOT / 'configs' / path).model.to_dict())
        cfg['backbone'].pop('init_cfg', None)
        cfg.update(type='mmmaskany.MaskSubDetector', host=f'mmdet.{name}', sub_masking=FILL)
        with pytest.raises(ValueError, match=f'takes RetinaNet with RetinaHead, and FasterRCNN and .*but got {name}'):
            build(cfg)


@pytest.mark.parametrize(
    ('changes', 'error', 'match'),
    [
        (dict(sub_masking=None), TypeError, 'sub_masking must be dict.* but got None'),
        (dict(sub_masking=dict(type='mmmaskany.FilCells')), KeyError, 'did you mean mmmaskany.FillCells'),
        (
            dict(host=None),
            TypeError,
            "host must be the type of the BaseDetector to build, .* but got None: give .*'mmdet.",
        ),
        (dict(host='mmdet.RetinNet'), KeyError, 'did you mean mmdet.RetinaNet'),
        (dict(sub_norm='off'), ValueError, 'sub_norm must be one of'),
        (dict(sub_masking=dict(type='mmmaskany.DropTokens')), ValueError, 'but got ResNet: take ReplacePatches'),
        (dict(head=dict(type='ATSSHead')), ValueError, 'but got RetinaNet with ATSSHead'),
        (
            dict(head=dict(loss_cls=dict(type='VarifocalLoss', use_sigmoid=True))),
            ValueError,
            'must be FocalLoss or CrossEntropyLoss, but bbox_head.loss_cls is VarifocalLoss',
        ),
        (dict(host='mmdet.FPN', bbox_head=None), TypeError, ''),
    ],
)
def test_bad_input(changes, error, match):
    cfg = detector('RetinaNet', type='mmmaskany.MaskSubDetector', sub_masking=FILL)
    cfg['bbox_head'].update(changes.pop('head', {}))
    if cfg['bbox_head']['type'] == 'ATSSHead':
        cfg['bbox_head']['anchor_generator'].update(octave_base_scale=8, scales_per_octave=1, ratios=[1.0])
        cfg['train_cfg']['assigner'] = dict(type='ATSSAssigner', topk=9)
    with pytest.raises(error, match=match):
        build({key: value for key, value in {**cfg, **changes}.items() if key != 'host' or value is not None})
    assert MMDET_MODELS.get('RetinaNet') is not None


def test_a_loss_that_is_called_otherwise_is_refused():
    model, data = masksub('RetinaNet'), data_of('RetinaNet')
    _, scores = model.main_loss(**data)
    scores['calls']['bbox_head.loss_cls'].pop()
    with pytest.raises(RuntimeError, match='bbox_head.loss_cls was called for other predictions'):
        model.sub_loss(data['inputs'], scores, data['data_samples'])
