# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What tests of the masking draw with."""

import torch

from mmmaskany.masking import MixturePattern, PatchPattern, RandomPattern

FORMATS = [torch.contiguous_format, torch.channels_last]


def half_the_samples(base=1):
    """Return a mixture that masks every other sample."""
    patterns = [PatchPattern(scale=0.5, base=base), RandomPattern(scale=0.5, cell=2 * base, base=base)]
    return MixturePattern(patterns, probs=[0.25, 0.25])
