# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Registers the masking algebra, so that configs can name its parts.

The algebra itself imports nothing of OpenMMLab; here its classes get their ``mmmaskany.`` names, and those that hold
other parts are built from configs.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmmaskany import masking
from mmmaskany.registry import MODELS

#: The patterns and fills that configs can name.
PATTERNS = ('PatchPattern', 'GridPattern', 'RandomPattern', 'BlockPattern', 'NoisePattern', 'MixturePattern')
FILLS = ('ConstantFill', 'MeanFill', 'TokenFill', 'ImageFill')

for _name in (*PATTERNS[:-1], *FILLS):
    MODELS.register_module(module=getattr(masking, _name))


def _build(cfg: object, known: Sequence[str]) -> object:
    """Build a part from its config; what is no config is taken as built."""
    if not isinstance(cfg, dict):
        return cfg
    names = [f'mmmaskany.{name}' for name in known]
    if str(cfg.get('type')).removeprefix('mmmaskany.') not in known:
        raise KeyError(f'`type` must be one of {names}, but got {cfg}')
    return MODELS.build(cfg)


@MODELS.register_module(name='MixturePattern')
def build_mixture(patterns: Sequence, probs: Sequence[float]) -> masking.MixturePattern:
    """Build a :class:`mmmaskany.masking.MixturePattern` of patterns given as configs or built."""
    return masking.MixturePattern([_build(pattern, PATTERNS) for pattern in patterns], probs)


@MODELS.register_module(name='Masking')
def build_masking(pattern: object, fill: object = None, reuse: bool = True) -> masking.Masking:
    """Build a :class:`mmmaskany.masking.Masking` of a pattern and a fill given as configs or built.

    Raises:
        KeyError: If the type of pattern or fill is not known.
    """
    return masking.Masking(build_pattern(pattern), build_fill(fill), reuse)


def build_pattern(cfg: object) -> masking.Pattern | masking.MixturePattern:
    """Build a pattern from its config; a built one is returned as it is.

    Raises:
        KeyError: If the type is not known.
        TypeError: If it is no pattern.
    """
    return masking.check_pattern(_build(cfg, PATTERNS))


def build_fill(cfg: object) -> masking.Fill | None:
    """Build a fill from its config; a built one, or None, is returned as it is."""
    return _build(cfg, FILLS)
