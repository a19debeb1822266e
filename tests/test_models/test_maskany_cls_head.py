# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import math

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import LinearClsHead
from mmpretrain.structures import DataSample

from mmmaskany.models import MaskAnyClsHead

CE = dict(type='mmpretrain.CrossEntropyLoss')
BCE = dict(type='mmpretrain.CrossEntropyLoss', use_sigmoid=True)


def build(**kwargs):
    """A head of two classes whose scores are its features."""
    head = MaskAnyClsHead(2, 2, **{'loss': CE, **kwargs})
    with torch.no_grad():
        head.fc.weight.copy_(torch.eye(2))
        head.fc.bias.zero_()
    return head


def labels(*values):
    return [DataSample().set_gt_label(value) for value in values]


def branches():
    """Features of which the fused one says 3:1, the visible one 1:1 and the reused one 1:3."""
    log3 = math.log(3)
    return torch.zeros(1, 2), torch.tensor([[0.0, log3]]), torch.tensor([[log3, 0.0]])


def test_plain_head_where_the_weights_are_zero():
    torch.manual_seed(0)
    plain, head = LinearClsHead(5, 4, cal_acc=True, loss=CE), MaskAnyClsHead(5, 4, cal_acc=True, loss=CE)
    head.load_state_dict(plain.state_dict())  # strict: the same names
    feats, samples = (torch.randn(3, 4),), labels(0, 4, 2)
    expected, losses = plain.loss(feats, samples), head.loss(feats, samples)
    assert losses.keys() == expected.keys()
    assert torch.equal(losses['loss'], expected['loss'])
    scores = [sample.pred_score for sample in head.predict(feats)]
    assert torch.equal(torch.stack(scores), torch.stack([sample.pred_score for sample in plain.predict(feats)]))


def test_hard_targets_by_hand():
    losses = build(visible_weight=0.5, reused_weight=2.0).loss(branches(), labels(0))
    # -log of the probability of class 0: 3/4, 1/2 and 1/4; the main loss is not scaled.
    torch.testing.assert_close(losses['loss'].item(), -math.log(3 / 4))
    torch.testing.assert_close(losses['loss_visible'].item(), -0.5 * math.log(1 / 2))
    torch.testing.assert_close(losses['loss_reused'].item(), -2.0 * math.log(1 / 4))


def test_relaxed_targets_by_hand():
    losses = build(visible_weight=1.0, reused_weight=1.0, targets='relaxed').loss(branches(), labels(1))
    torch.testing.assert_close(losses['loss'].item(), -math.log(1 / 4))  # still learns the label
    # Cross entropy with the fused prediction (3/4, 1/4).
    torch.testing.assert_close(losses['loss_visible'].item(), math.log(2))
    torch.testing.assert_close(losses['loss_reused'].item(), -3 / 4 * math.log(1 / 4) - 1 / 4 * math.log(3 / 4))


def test_relaxed_targets_are_sigmoids_under_a_binary_loss():
    samples = [DataSample().set_gt_score(torch.tensor([1.0, 0.0]))]
    losses = build(reused_weight=1.0, targets='relaxed', loss=BCE).loss(branches(), samples)
    # Fused sigmoids (3/4, 1/2), reused ones (1/2, 3/4).
    expected = math.log(2) - 1 / 2 * math.log(3 / 4) - 1 / 2 * math.log(1 / 4)
    torch.testing.assert_close(losses['loss_reused'].item(), expected)
    assert set(losses) == {'loss', 'loss_reused'}


def test_relaxed_targets_are_not_smoothed_again():
    smooth = dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.2, num_classes=2, loss_weight=3.0)
    losses = build(visible_weight=0.5, targets='relaxed', loss=smooth).loss(branches(), labels(0))
    torch.testing.assert_close(losses['loss'].item(), -3 * (0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4)))
    torch.testing.assert_close(losses['loss_visible'].item(), 0.5 * 3 * math.log(2))


def test_relaxed_targets_pass_no_gradient_to_the_fused_feature():
    visible, reused, fused = (feat.requires_grad_() for feat in branches())
    head = build(visible_weight=1.0, targets='relaxed')
    head.loss((visible, reused, fused), labels(0))['loss_visible'].backward()
    assert fused.grad is None and reused.grad is None
    torch.testing.assert_close(visible.grad, torch.tensor([[0.5 - 0.75, 0.5 - 0.25]]))


def test_the_last_level_of_each_branch_is_used():
    level = torch.full((1, 7), math.nan)  # of a shallower stage: never touched
    visible, reused, fused = branches()
    head = build(visible_weight=1.0, reused_weight=1.0)
    losses = head.loss((level, visible, level, reused, level, fused), labels(0))
    torch.testing.assert_close(losses['loss_visible'].item(), math.log(2))
    torch.testing.assert_close(losses['loss_reused'].item(), math.log(4))


def test_predicts_from_the_fused_feature():
    (sample,) = build(visible_weight=1.0).predict(branches())
    torch.testing.assert_close(sample.pred_score, torch.tensor([0.75, 0.25]))
    assert sample.pred_label.item() == 0


def test_mixed_labels_with_hard_targets():
    samples = [DataSample().set_gt_score(torch.tensor([0.25, 0.75]))]
    loss = build(reused_weight=1.0).loss(branches(), samples)['loss_reused']
    expected = -(0.25 * F.log_softmax(branches()[1], 1)[0, 0] + 0.75 * F.log_softmax(branches()[1], 1)[0, 1])
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(visible_weight=-1), 'visible_weight must be at least 0, but got -1'),
        (dict(reused_weight=-0.1), 'reused_weight must be at least 0, but got -0.1'),
        (dict(targets='soft'), "targets must be one of .* but got 'soft'"),
        (dict(targets='relaxed', loss=dict(type='mmpretrain.FocalLoss')), 'takes probabilities.* but got FocalLoss'),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskAnyClsHead(2, 2, **{'loss': CE, **arguments})


@pytest.mark.parametrize(
    'feats', [branches()[:1], branches()[:2], (torch.zeros(1, 4), torch.zeros(1, 3), torch.zeros(1, 2))]
)
def test_missing_branches_are_refused(feats):
    head = MaskAnyClsHead(2, feats[-1].shape[1], visible_weight=1.0, loss=CE)
    with pytest.raises(ValueError, match='with_branches=True, but got'):
        head.loss(feats, labels(0))
