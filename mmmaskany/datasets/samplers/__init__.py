# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .seeded import SeededIndex, SeededSampler

__all__ = ['SeededIndex', 'SeededSampler']
