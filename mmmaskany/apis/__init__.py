# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What scripts and notebooks call. It needs none of the hosts, and protects the loading of checkpoints.

A name is imported when it is asked for: the command line, which is below this package, too, answers ``--help``
without torch.
"""

import importlib

#: What is found here, and in which module.
_LAZY = {
    'CLOCKS': 'turns',
    'METRICS': 'runs',
    'SIZES': 'samples',
    'Launch': 'runs',
    'Resolved': 'model_index',
    'Result': 'runs',
    'Run': 'runs',
    'Work': 'turns',
    'count_flops': 'samples',
    'draw_batch': 'samples',
    'index_root': 'model_index',
    'is_self_supervised': 'samples',
    'load_models': 'model_index',
    'plot': 'runs',
    'read_result': 'runs',
    'report': 'runs',
    'resolve': 'model_index',
    'table': 'runs',
    'take_turns': 'turns',
    'train': 'runs',
    'train_all': 'runs',
    'turns_table': 'turns',
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from mmmaskany.checkpoints.protection import protect

    protect()
    return getattr(importlib.import_module(f'.{_LAZY[name]}', __name__), name)


__all__ = sorted(_LAZY)
