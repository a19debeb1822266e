# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Telling a network from the shapes of its tensors, whatever they are called.

``fingerprints.json``, written by ``tools/misc/fingerprints.py``, lists timm's networks and those of mmpretrain's hub. A
network with another number of classes or another size of images is told, too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from .mismatch import REBUILT

#: Not part of what a network is: its classifier, and what stands around a backbone.
_HEAD = re.compile(
    r'(^|\.)(fc|_fc|last_linear|head|heads|head_dist|head\.(fc|l|head)|heads\.head|classifier|classifier_dist|'
    r'(classifier|classif|head|pre_logits|heads)\.(\d+|l|linear|fc\d?)|head\.layers\.head|last_linear|pre_logits\.fc\d)'
    r'\.(weight|bias)$|^(data_preprocessor|neck|.*_head|mtp|decoder_.*|mask_token.*)(\.|$)'
)
#: What depends on the size of the images.
_POSITIONS = re.compile(r'pos_emb|positional|position_emb|relative_|rel_pos|token|class_embedding')
TABLE = Path(__file__).with_suffix('.json')


class Fingerprint(NamedTuple):
    """What tells a network: hashes of the shapes of its tensors, by any publisher's names.

    Args:
        kernels (str): Of kernels and matrices. Networks that share it are of one architecture.
        vectors (str): Of vectors: biases, norms and scales. Publishers may store them otherwise.
        positions (str): Of tokens and tables of positions, which other sizes of images change.
    """

    kernels: str
    vectors: str
    positions: str


def fingerprint(tensors: Mapping[str, Tensor]) -> Fingerprint:
    """Return what tells a network.

    Args:
        tensors (Mapping[str, Tensor]): Its tensors, by any publisher's names.

    Returns:
        Fingerprint: 12, 6 and 6 digits.
    """
    kernels, vectors, positions = [], [], []
    for name, tensor in tensors.items():
        sides = [side for side in tensor.shape if side != 1]
        if not sides or name.endswith(REBUILT) or _HEAD.search(name):
            continue
        kind = positions if _POSITIONS.search(name) else kernels if len(sides) > 1 else vectors
        kind.append(sides)
    return Fingerprint(_hash(kernels, 12), _hash(vectors, 6), _hash(positions, 6))


def _hash(shapes: list[list[int]], digits: int) -> str:
    return hashlib.sha256(json.dumps(sorted(shapes)).encode()).hexdigest()[:digits]


@functools.cache
def _table() -> dict[str, dict[str, str]]:
    """Return the names of each fingerprint of kernels, with those of vectors and positions."""
    return json.loads(TABLE.read_text(encoding='utf-8')) if TABLE.is_file() else {}


def known_networks(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the networks that tensors may be of.

    Args:
        tensors (Mapping[str, Tensor]): The tensors, by any publisher's names.

    Returns:
        dict[str, int]: Their names, those of timm as ``timm/NAME``, with how well they agree: 3 in all shapes, 2 but
            for positions, 1 but for vectors, 0 in the kernels alone.
    """
    own = fingerprint(tensors)
    return {
        name: 2 * rest.startswith(own.vectors) + rest.endswith(own.positions)
        for name, rest in _table().get(own.kernels, {}).items()
    }
