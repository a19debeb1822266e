# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from .binary_target_loss import BinaryTargetLoss

__all__ = ['BinaryTargetLoss']
