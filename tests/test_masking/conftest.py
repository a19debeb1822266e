# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import pytest
import torch

from mmmaskany.masking import BlockPattern, GridPattern, MixturePattern, NoisePattern, PatchPattern, RandomPattern


def patch(base=1, **share):
    return PatchPattern(base=base, **share)


def grid(base=1, **share):
    return GridPattern(cell=2 * base, base=base, **share)


def grids(base=1, **share):
    return GridPattern(cell=[base, 2 * base, 3 * base], base=base, **share)


def random(base=1, **share):
    return RandomPattern(cell=base, base=base, **share)


def randoms(base=1, **share):
    return RandomPattern(cell=[base, 2 * base, 3 * base], base=base, **share)


def block(base=1, **share):
    return BlockPattern(cell=base, base=base, **share)


def blocks(base=1, **share):
    return BlockPattern(cell=[base, 2 * base], base=base, **share)


def noise(base=1, **share):
    return NoisePattern(cell=base, base=base, **share)


def noises(base=1, **share):
    return NoisePattern(cell=[base, 2 * base], color='purple', base=base, **share)


def mixture(base=1, **share):
    patterns = [make(base, **share) for make in (patch, grids, randoms, blocks)]
    return MixturePattern(patterns, probs=[0.2] * 4)


PATTERNS = [patch, grid, grids, random, randoms, block, blocks, noise, noises]


@pytest.fixture(scope='session', params=PATTERNS, ids=lambda make: make.__name__)
def make_pattern(request):
    """Make each pattern, with one and with several cell sizes: ``make_pattern(base=1, scale=0.5)``."""
    return request.param


@pytest.fixture(scope='session', params=[*PATTERNS, mixture], ids=lambda make: make.__name__)
def make_any(request):
    """Make each pattern, and their mixture, which leaves one in five samples unmasked."""
    return request.param


@pytest.fixture(scope='session')
def make_images():
    """Make images of which no two pixels of a channel are alike: ``make_images(2, 4, 6)`` is ``(2, 3, 4, 6)``."""

    def make(batch, height, width, channels=3, dtype=torch.float, memory_format=torch.contiguous_format):
        images = torch.arange(1, batch * channels * height * width + 1).view(batch, channels, height, width)
        return images.to(dtype).contiguous(memory_format=memory_format)

    return make
