# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Stateless randomness: what is drawn follows from seed, process and step or sample alone."""

from .dataset import SeededDataset
from .hook import SeedHook
from .replay import make_replayable
from .sampler import SeededIndex, SeededSampler

__all__ = ['SeedHook', 'SeededDataset', 'SeededIndex', 'SeededSampler', 'make_replayable']
