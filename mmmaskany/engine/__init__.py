# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from mmmaskany.checkpoints.protection import protect
from mmmaskany.checkpoints.resume import find_resume_point

from .hooks import (
    AtomicCheckpointHook,
    ChannelsLastHook,
    FrozenNormHook,
    LastValidationHook,
    LaunchCheckHook,
    MaskScheduleHook,
    MaskVisualizationHook,
    NonFiniteLossHook,
)
from .model_wrapper import OwnStepDistributedDataParallel
from .optim_wrapper import CpuAmpOptimWrapper
from .seeding import SeededDataset, SeededIndex, SeededSampler, SeedHook, make_replayable

protect()

__all__ = [
    'AtomicCheckpointHook',
    'ChannelsLastHook',
    'FrozenNormHook',
    'CpuAmpOptimWrapper',
    'LastValidationHook',
    'LaunchCheckHook',
    'MaskScheduleHook',
    'MaskVisualizationHook',
    'NonFiniteLossHook',
    'OwnStepDistributedDataParallel',
    'SeedHook',
    'SeededDataset',
    'SeededIndex',
    'SeededSampler',
    'find_resume_point',
    'make_replayable',
]
