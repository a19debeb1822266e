# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.registry import MODELS

from mmmaskany.models.heads.relaxed_targets import relaxed_loss


def test_every_class_that_a_mixed_label_holds_is_a_target():
    loss = MODELS.build(dict(type='mmmaskany.BinaryTargetLoss'))
    score = torch.tensor([[2.0, -1.0, 0.5, 0.0]])
    mixed = torch.tensor([[0.9, 0.0, 0.1, 0.0]])
    # -(log s(2) + log s(1) + log s(0.5) + log s(0)) / 4, whatever the shares
    by_hand = (0.126928 + 0.313262 + 0.474077 + 0.693147) / 4
    torch.testing.assert_close(loss(score, mixed), torch.tensor(by_hand), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss(score, mixed, avg_factor=1), torch.tensor(by_hand), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(loss(torch.zeros(3, 10), torch.eye(10)[:3], avg_factor=3), torch.tensor(2.0).log())
    assert mixed[0, 0] == 0.9  # untouched


def test_a_relaxed_target_stays_as_it_is():
    """The sub-branch learns the sigmoid of the main branch, not whether it is above 0."""
    loss = MODELS.build(dict(type='mmmaskany.BinaryTargetLoss', loss_weight=2.0))
    score, teacher = torch.randn(2, 5), torch.randn(2, 5)
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(score, teacher.sigmoid())
    torch.testing.assert_close(relaxed_loss(loss, score, teacher), 2 * wanted)


def test_class_indices_are_refused():
    loss = MODELS.build(dict(type='mmmaskany.BinaryTargetLoss'))
    with pytest.raises(ValueError, match=r'needs soft labels \(B, classes\).*got \(2,\): where nothing is mixed'):
        loss(torch.zeros(2, 3), torch.tensor([0, 2]))
