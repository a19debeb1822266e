# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmmaskany.checkpoints.protection import protect
from mmmaskany.checkpoints.resume import find_resume_point

from .hooks import (
    AtomicCheckpointHook,
    FrozenNormHook,
    LastValidationHook,
    LaunchCheckHook,
    MaskScheduleHook,
    MaskVisualizationHook,
    NonFiniteLossHook,
    SeedHook,
)
from .model_wrapper import OwnStepDistributedDataParallel
from .optim_wrapper import CpuAmpOptimWrapper
from .replay import make_replayable

protect()

__all__ = [
    'AtomicCheckpointHook',
    'FrozenNormHook',
    'CpuAmpOptimWrapper',
    'LastValidationHook',
    'LaunchCheckHook',
    'MaskScheduleHook',
    'MaskVisualizationHook',
    'NonFiniteLossHook',
    'OwnStepDistributedDataParallel',
    'SeedHook',
    'find_resume_point',
    'make_replayable',
]
