# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .seeded import SeededDataset

__all__ = ['SeededDataset']
