# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Random numbers of a seed."""

import torch


def seeded(seed=0):
    """Return a generator."""
    return torch.Generator().manual_seed(seed)
