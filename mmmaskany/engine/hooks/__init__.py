# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .channels_last_hook import ChannelsLastHook
from .frozen_norm_hook import FrozenNormHook
from .last_validation_hook import LastValidationHook
from .launch_check_hook import LaunchCheckHook
from .mask_schedule_hook import MaskScheduleHook
from .mask_visualization_hook import MaskVisualizationHook
from .non_finite_loss_hook import NonFiniteLossHook

__all__ = [
    'AtomicCheckpointHook',
    'ChannelsLastHook',
    'FrozenNormHook',
    'LastValidationHook',
    'LaunchCheckHook',
    'MaskScheduleHook',
    'MaskVisualizationHook',
    'NonFiniteLossHook',
]
