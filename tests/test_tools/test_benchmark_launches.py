# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The budget of masking: what it costs to start, counted without a GPU."""

import runpy
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / 'tools/analysis_tools/benchmark_launches.py'))
#: Kernels of draw, mask and recompose as one graph, with the one call that makes the random numbers.
BUDGET = {
    'patch': 6,
    'grid, three sizes': 6,
    'random': 7,
    'random, three sizes': 8,
    'block': 8,
    'noise': 8,
    'grid in 0.4 of the images': 7,
    'mixture of three': 10,
    'mixture of five': 12,
}


@pytest.mark.parametrize('name', BUDGET)
def test_masking_stays_within_its_kernels(name):
    masking, images = TOOL['maskings']()[name], torch.zeros(4, 3, 64, 64)
    assert TOOL['kernels'](masking, images) <= BUDGET[name]


def test_a_given_draw_is_two_kernels():
    masking = TOOL['maskings']()['mixture of three']
    assert TOOL['kernels'](masking, torch.zeros(4, 3, 64, 64), given=True) == 2


def test_a_step_of_maskany_is_few_operations_more():
    host = dict(type='mmpretrain.ResNet', depth=18)
    plain, unmasked = (TOOL['step'](cfg, 2, 64) for cfg in (host, dict(type='mmmaskany.MaskAny', backbone=host)))
    assert 0 < unmasked[0] - plain[0] <= 16
    assert 1 < unmasked[1] / plain[1] < 1.1


def test_what_is_counted():
    image = torch.zeros(2, 3, device='meta')
    count = TOOL['operations'](lambda: (image.view(3, 2).t()[0] + 1, image.new_empty(4), image.clone()))
    assert count == (2, 2 * 3 * 4 + 2 * 6 * 4)
