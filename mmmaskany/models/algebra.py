# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Registers the masking algebra, so that configs can name its parts.

The algebra itself imports nothing of OpenMMLab; here its classes get their ``mmmaskany.`` names. What builds them, and
those of anybody else, is :mod:`mmmaskany.builder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from mmmaskany import masking
from mmmaskany.builder import build_augment, build_fill, build_masking, build_pattern
from mmmaskany.registry import MODELS

__all__ = ['build_augment', 'build_fill', 'build_masking', 'build_mixture', 'build_pattern', 'make_masking']

for _part in (
    *(masking.PatchPattern, masking.GridPattern, masking.RandomPattern, masking.BlockPattern, masking.NoisePattern),
    masking.RankedPattern,
    *(masking.AttentionPattern, masking.ActivationPattern, masking.ObjectPattern),
    *(masking.ConstantFill, masking.MeanFill, masking.TokenFill, masking.ImageFill),
):
    MODELS.register_module(module=_part)


@MODELS.register_module(name='MixturePattern')
def build_mixture(patterns: Sequence, probs: Sequence[float]) -> masking.MixturePattern:
    """Build a :class:`mmmaskany.masking.MixturePattern` of patterns given as configs or built."""
    built = [build_pattern(pattern) for pattern in patterns]
    return masking.MixturePattern(cast(list[masking.Pattern], built), probs)  # a mixture in it is refused there


@MODELS.register_module(name='Masking')
def make_masking(
    pattern: object, fill: object = None, reuse: bool | str = True, augment: object = None
) -> masking.Masking:
    """Make a :class:`mmmaskany.masking.Masking` of a pattern, a fill and an augment given as configs or built."""
    return masking.Masking(build_pattern(pattern), build_fill(fill), reuse, augment=build_augment(augment))
