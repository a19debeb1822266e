# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What was trained with late fusion is never taken for something else."""

import pytest
from mmengine.registry import MODELS, init_default_scope

from mmmaskany.checkpoints.mismatch import CheckpointMismatchError
from mmmaskany.checkpoints.reading import place

R18 = dict(type='mmpretrain.ResNet', depth=18, stem_channels=4, base_channels=4, out_indices=(2, 3))


def build(fuse_at):
    init_default_scope('mmpretrain')
    if fuse_at is None:
        return MODELS.build(dict(R18))
    return MODELS.build(dict(type='mmmaskany.MaskAny', backbone=dict(R18), fuse_at=fuse_at))


@pytest.mark.parametrize('target', ['stem', None], ids=['a second stem', 'plain'])
def test_fusions_of_levels_are_not_lost(target):
    late = build('levels').state_dict()
    assert any(name.startswith('level_fusions.') for name in late)
    with pytest.raises(CheckpointMismatchError, match=r'2 have no place \(level_fusions\.0\.scale'):
        place(late, build(target))


@pytest.mark.parametrize('given', ['levels', None])
def test_late_fusion_takes_its_own_and_plain_files(given):
    assert set(place(build(given).state_dict(), build('levels'))) >= set(build(None).state_dict())
