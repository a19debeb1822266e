# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The patterns by short names, with cells that suit an image: what scripts compare with each other."""

from __future__ import annotations

from mmmaskany.masking import BlockPattern, GridPattern, NoisePattern, PatchPattern, Pattern, RandomPattern

#: The patterns by name. Noise comes in four colors.
PATTERNS = {
    'patch': (PatchPattern, {}),
    'grid': (GridPattern, {}),
    'random': (RandomPattern, {}),
    'block': (BlockPattern, {}),
    **{f'{color}-noise': (NoisePattern, dict(color=color)) for color in NoisePattern.sigmas},
}


def pattern_cfg(name: str, side: int, cell: int | None = None, **share: float) -> dict:
    """Write the config of a pattern.

    Args:
        name (str): One of :data:`PATTERNS`.
        side (int): Shorter side of the images in pixels.
        cell (int | None): Side of a cell in pixels. None is an eighth of the images' side; patches, which have no
            cells, do not take it. Defaults to None.
        **share (float): ``scale`` or ``ratio``, see :class:`mmmaskany.masking.Pattern`.

    Returns:
        dict: The config, with base cells of a 56th of the images' side, 4 px at 224 px, or as large as divide the
        cell.

    Raises:
        ValueError: If the name is not known.
    """
    if name not in PATTERNS:
        raise ValueError(f'a pattern must be one of {list(PATTERNS)}, but got {name!r}')
    kind, more = PATTERNS[name]
    base = max(1, side // 56)
    cfg = dict(type=f'mmmaskany.{kind.__name__}', **share, **more)
    if kind is not PatchPattern:
        cfg['cell'] = max(base, side // 8 // base * base) if cell is None else cell
        base = next(size for size in range(base, 0, -1) if cfg['cell'] % size == 0)
    return dict(cfg, base=base)


def masked_share(pattern: Pattern, height: int, width: int) -> float:
    """Tell which share of an image a pattern masks: counts are whole cells, so it is rarely just what was asked for.

    Args:
        pattern (Pattern): A pattern whose cells all mask as much.
        height (int): Image height in pixels.
        width (int): Image width in pixels.

    Returns:
        float: The share, in (0, 1).

    Raises:
        ValueError: If the pattern would mask nothing or everything of such an image.
    """
    return pattern.masked_cells(height, width) * pattern.base**2 / (height * width)
