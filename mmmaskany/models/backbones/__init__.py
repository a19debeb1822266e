# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .deit3 import DeiT3
from .levels import BranchLevels
from .mask_efficientnet_v2 import MaskEfficientNetV2
from .mask_resnet import MaskResNet
from .mask_swin_transformer import MaskSwinTransformer
from .mask_vision_transformer import MaskVisionTransformer
from .maskany import MaskAny, MaskAnyMixin
from .merging import NotMergeableError, merge_stems
from .wrapping import wrap

__all__ = [
    'BranchLevels',
    'DeiT3',
    'MaskAny',
    'MaskAnyMixin',
    'MaskEfficientNetV2',
    'MaskResNet',
    'MaskSwinTransformer',
    'MaskVisionTransformer',
    'NotMergeableError',
    'merge_stems',
    'wrap',
]
