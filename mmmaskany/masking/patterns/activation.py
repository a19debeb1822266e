# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What speaks for the class."""

from __future__ import annotations

from .guided import GuidedPattern


class ActivationPattern(GuidedPattern):
    """What speaks most, or least, for the class that a CNN predicts: class activation maps (arXiv 1512.04150).

    Args:
        ratio (float | None): See :class:`.Pattern`. Defaults to None.
        scale (float | None): See :class:`.Pattern`. Defaults to None.
        cell (int): Side of a cell in pixels. Defaults to 16.
        hide (str): 'most' or 'least'. Defaults to 'most'.
        base (int | None): See :class:`.RankedPattern`. Defaults to None.

    Raises:
        ValueError: If ``hide`` is not known.
    """

    guide = 'activation'
