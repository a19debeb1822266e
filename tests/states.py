# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Compare what trainings left behind."""

import torch

from mmmaskany.checkpoints.protection import read_checkpoint


def assert_same_state(path, other, sections=('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')):
    """Compare the sections of two checkpoints bit for bit."""

    def assert_same(a, b):
        assert type(a) is type(b)
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            [assert_same(a[key], b[key]) for key in a]
        elif isinstance(a, list | tuple):
            assert len(a) == len(b)
            [assert_same(*pair) for pair in zip(a, b, strict=True)]
        else:
            assert a == b

    a, b = read_checkpoint(path), read_checkpoint(other)
    assert a['meta']['iter'] == b['meta']['iter']
    for section in sections:
        assert_same(a[section], b[section])
