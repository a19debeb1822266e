# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What is measured about a trained network beside its accuracy. Nothing here imports OpenMMLab."""

from .diversity import centroid_accuracy, effective_rank, fisher_ratio, linear_cka
from .occlusion import PastedObjects, Pixels, occlude, textures

__all__ = [
    'PastedObjects',
    'Pixels',
    'centroid_accuracy',
    'effective_rank',
    'fisher_ratio',
    'linear_cka',
    'occlude',
    'textures',
]
