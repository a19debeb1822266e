# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.

import pytest
import torch
from mmpretrain.models.utils import ClsDataPreprocessor

from mmmaskany.analysis.occlusion import Pixels, build_fill, occlude, textures
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


def test_pixels_are_what_the_preprocessor_makes_of_them():
    image = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    for to_rgb in (True, False):
        preprocessor = ClsDataPreprocessor(mean=[10, 20, 30], std=[1, 2, 4], to_rgb=to_rgb)
        seen = preprocessor(dict(inputs=[image]), False)['inputs'][0]
        assert torch.equal(Pixels.of(preprocessor).seen(image), seen)
    assert torch.equal(Pixels.of(ClsDataPreprocessor()).seen(image), image.float())


def test_black_is_black():
    preprocessor = torch.nn.Module()
    assert build_fill('black', preprocessor).value == 0
    with pytest.raises(ValueError, match="needs the data's mean"):
        build_fill('mean', preprocessor)
    preprocessor.mean, preprocessor.std = torch.tensor([[[10.0]], [[20.0]]]), torch.tensor([[[5.0]], [[5.0]]])
    assert build_fill('black', preprocessor).value == [-2.0, -4.0]
    assert build_fill('mean', preprocessor).value == 0


def test_textures_are_smooth_and_of_their_place():
    whole = textures(5, 32, 48, first=3)
    assert whole.shape == (5, 3, 32, 48) and whole.min() >= 0 and whole.max() <= 255
    assert torch.equal(whole[2:3], textures(1, 32, 48, first=5))
    assert (whole[0] - whole[1]).abs().mean() > 20
    assert not torch.equal(whole, textures(5, 32, 48, first=3, seed=1))
    assert (whole.diff(dim=3).abs().amax() < 60) and whole.std((2, 3)).min() > 5
