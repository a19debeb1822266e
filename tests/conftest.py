# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is imported: small tests lose time to thread pools

import pytest
import torch


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason='needs a CUDA device')
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(skip)
