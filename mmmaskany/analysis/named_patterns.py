# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The patterns by name, with cells that suit an image: what scripts compare with each other."""

from __future__ import annotations

import inspect

from mmmaskany.builder import PATTERN, find_maker
from mmmaskany.masking import BlockPattern, GridPattern, NoisePattern, PatchPattern, Pattern, RandomPattern

#: Ours by short names; noise comes in four colors. Others are named by their types, as in a config.
NAMED_PATTERNS = {
    'patch': (PatchPattern, {}),
    'grid': (GridPattern, {}),
    'random': (RandomPattern, {}),
    'block': (BlockPattern, {}),
    **{f'{color}-noise': (NoisePattern, dict(color=color)) for color in NoisePattern.sigmas},
}


def pattern_cfg(name: str, side: int, cell: int | None = None, **share: float) -> dict:
    """Write the config of a pattern.

    Args:
        name (str): One of :data:`NAMED_PATTERNS`, or the type of any other pattern as a config has it, such as
            'guest.StripePattern'.
        side (int): Shorter side of the images in pixels.
        cell (int | None): Side of a cell in pixels. None is an eighth of the images' side; patterns that take no
            ``cell``, as patches, are not given it. Defaults to None.
        **share (float): ``scale`` or ``ratio``, see :class:`mmmaskany.masking.Pattern`.

    Returns:
        dict: The config, with base cells of a 56th of the images' side, 4 px at 224 px, or as large as divide the
        cell, where the pattern takes a ``base``.

    Raises:
        ValueError: If the name is not known.
    """
    if name in NAMED_PATTERNS:
        kind, more = NAMED_PATTERNS[name]
        cfg = dict(type=f'mmmaskany.{kind.__name__}', **share, **more)
    else:
        try:
            kind = find_maker(dict(type=name), PATTERN, 'pattern')
        except KeyError as error:
            raise ValueError(
                f'a pattern must be one of {list(NAMED_PATTERNS)}, but got {name!r}: or its {error.args[0]}'
            ) from error
        cfg = dict(type=name, **share)
    takes = inspect.signature(kind).parameters
    base = max(1, side // 56)
    if 'cell' in takes:
        cfg['cell'] = max(base, side // 8 // base * base) if cell is None else cell
        base = next(size for size in range(base, 0, -1) if cfg['cell'] % size == 0)
    return dict(cfg, base=base) if 'base' in takes else cfg


def masked_share(pattern: Pattern, height: int, width: int) -> float:
    """Tell which share of an image a pattern masks: counts are whole cells, so it is rarely just what was asked for.

    Of a pattern that draws in its own way, and does not say how much, it is what was asked for.

    Args:
        pattern (Pattern): A pattern whose cells all mask as much.
        height (int): Image height in pixels.
        width (int): Image width in pixels.

    Returns:
        float: The share, in (0, 1).

    Raises:
        ValueError: If the pattern would mask nothing or everything of such an image.
    """
    if type(pattern).masked_cells is Pattern.masked_cells and not pattern.in_cells:
        return pattern.ratio if pattern.scale is None else pattern.scale**2
    return pattern.masked_cells(height, width) * pattern.base**2 / (height * width)
