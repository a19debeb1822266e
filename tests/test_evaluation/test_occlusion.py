# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import torch

from mmmaskany.evaluation import occlude
from mmmaskany.masking import ConstantFill, RandomPattern

PATTERN = RandomPattern(ratio=0.25, cell=4, base=1)
FILL = ConstantFill(-1.0)


def test_a_mask_follows_from_the_place_in_the_data_alone():
    images = torch.rand(70, 3, 16, 16)
    before = images.clone()
    whole = occlude(images, PATTERN, FILL)
    torch.manual_seed(7)  # what else is drawn does not matter
    for batch in (1, 7, 32, 48):
        parts = [occlude(part, PATTERN, FILL, first=batch * i) for i, part in enumerate(images.split(batch))]
        assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(images, before)
    masked = (whole == -1).all(1)
    assert (masked.flatten(1).sum(1) == 64).all()
    assert torch.equal(whole[~masked[:, None].expand_as(whole)], images[~masked[:, None].expand_as(whole)])


def test_places_patterns_and_seeds_have_masks_of_their_own():
    images = torch.zeros(40, 1, 16, 16)
    masks = occlude(images, PATTERN, FILL).flatten(1)
    assert len(masks.unique(dim=0)) > 35
    others = [
        occlude(images, PATTERN, FILL, first=32),
        occlude(images, PATTERN, FILL, seed=1),
        occlude(images, RandomPattern(ratio=0.26, cell=4, base=1), FILL),
    ]
    for other in others:
        assert (other.flatten(1) == masks).all(1).float().mean() < 0.2
