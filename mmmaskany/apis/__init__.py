# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What scripts and notebooks call. Importing it needs none of the hosts."""

from .runs import METRICS, Launch, Result, Run, read_result, report, table, train, train_all

__all__ = ['METRICS', 'Launch', 'Result', 'Run', 'read_result', 'report', 'table', 'train', 'train_all']
