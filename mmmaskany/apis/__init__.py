# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What scripts and notebooks call. Importing it needs none of the hosts, and protects the loading of checkpoints."""

from mmmaskany.checkpoints.protection import protect

from .model_index import Resolved, index_root, load_models, resolve
from .runs import METRICS, Launch, Result, Run, plot, read_result, report, table, train, train_all
from .samples import SIZES, count_flops, draw_batch, is_self_supervised
from .turns import CLOCKS, Work, take_turns, turns_table

protect()

__all__ = [
    'CLOCKS',
    'METRICS',
    'SIZES',
    'Launch',
    'Resolved',
    'Result',
    'Run',
    'Work',
    'count_flops',
    'draw_batch',
    'index_root',
    'is_self_supervised',
    'load_models',
    'plot',
    'read_result',
    'report',
    'resolve',
    'table',
    'take_turns',
    'train',
    'train_all',
    'turns_table',
]
