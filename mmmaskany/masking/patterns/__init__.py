# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Where to mask: one file a pattern, on :class:`.base.Pattern` or :class:`.ranked.RankedPattern`."""

from .activation import ActivationPattern
from .attention import AttentionPattern
from .base import DATA, Layout, Pattern, SampleLayouts, asked, draw_masks, draw_numbers
from .block import BlockPattern
from .grid import GridPattern
from .guided import GuidedPattern, guided
from .mixture import MixturePattern, check_pattern
from .noise import NoisePattern
from .objects import ObjectPattern
from .patch import PatchPattern
from .random import RandomPattern
from .ranked import RankedPattern

__all__ = [
    'DATA',
    'ActivationPattern',
    'AttentionPattern',
    'BlockPattern',
    'GridPattern',
    'GuidedPattern',
    'Layout',
    'MixturePattern',
    'NoisePattern',
    'ObjectPattern',
    'PatchPattern',
    'Pattern',
    'RandomPattern',
    'RankedPattern',
    'SampleLayouts',
    'asked',
    'check_pattern',
    'draw_masks',
    'draw_numbers',
    'guided',
]
