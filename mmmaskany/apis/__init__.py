# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What scripts and notebooks call. Importing it needs none of the hosts."""

from .runs import METRICS, Launch, Result, Run, read_result, report, table, train, train_all
from .samples import SIZES, count_flops, draw_batch, is_self_supervised
from .turns import CLOCKS, Work, take_turns, turns_table

__all__ = [
    'CLOCKS',
    'METRICS',
    'SIZES',
    'Launch',
    'Result',
    'Run',
    'Work',
    'count_flops',
    'draw_batch',
    'is_self_supervised',
    'read_result',
    'report',
    'table',
    'take_turns',
    'train',
    'train_all',
    'turns_table',
]
