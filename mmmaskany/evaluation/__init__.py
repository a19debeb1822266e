# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is measured about a trained network beside its accuracy. Nothing here imports OpenMMLab."""

from .diversity import centroid_accuracy, effective_rank, fisher_ratio, linear_cka
from .occlusion import PastedObjects, Pixels, occlude, occlusion_mask, textures
from .paired import Difference, holm, paired_difference

__all__ = [
    'Difference',
    'PastedObjects',
    'Pixels',
    'centroid_accuracy',
    'effective_rank',
    'fisher_ratio',
    'holm',
    'linear_cka',
    'occlude',
    'occlusion_mask',
    'paired_difference',
    'textures',
]
