# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Telling a network from the shapes of its tensors, whatever they are called.

``fingerprints.json``, written by ``tools/misc/fingerprints.py``, lists the names of timm's networks and of mmpretrain's
hub for each. A network with another number of classes or another size of images has the same fingerprint.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

#: Not part of what a network is: its classifier, and tables of positions.
_LEFT_OUT = re.compile(
    r'(^|\.)(fc|_fc|last_linear|head|head_dist|head\.fc|heads\.head|classifier(\.\d+)?|head\.layers\.head)\.weight$'
    r'|pos_emb|positional|relative_|rel_pos|token|attn_mask|^(data_preprocessor|neck|.*_head)\.'
)
TABLE = Path(__file__).with_suffix('.json')


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return what tells a network: a hash of the shapes of its kernels and matrices.

    Args:
        tensors (Mapping[str, Tensor]): Its tensors, by any publisher's names.

    Returns:
        str: 12 digits.
    """
    shapes = []
    for name, tensor in tensors.items():
        sides = [side for side in tensor.shape if side != 1]
        if len(sides) > 1 and not _LEFT_OUT.search(name):
            shapes.append(sides)
    return hashlib.sha256(json.dumps(sorted(shapes)).encode()).hexdigest()[:12]


@functools.cache
def known_networks() -> dict[str, list[str]]:
    """Return the names of the networks of each fingerprint, those of timm as ``timm/NAME``."""
    return json.loads(TABLE.read_text(encoding='utf-8')) if TABLE.is_file() else {}
