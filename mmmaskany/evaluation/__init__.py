# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is measured about a trained network beside its accuracy. Torch only, as the masking algebra."""

from .diversity import centroid_accuracy, effective_rank, fisher_ratio, linear_cka
from .occlusion import occlude, occlusion_mask

__all__ = ['centroid_accuracy', 'effective_rank', 'fisher_ratio', 'linear_cka', 'occlude', 'occlusion_mask']
