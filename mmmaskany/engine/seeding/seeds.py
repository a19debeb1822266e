# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Stateless random numbers: what is drawn follows from a few numbers that name the occasion."""

import hashlib
import random

import numpy as np
import torch


def derive_seed(*occasion: int | str) -> int:
    """Turn what names an occasion, such as ``('train', seed, rank, iteration)``, into a seed.

    Args:
        occasion (int | str): The parts of the name; their order matters.

    Returns:
        int: A number in [0, 2**63), the same on every machine and unrelated between occasions.
    """
    name = ':'.join(map(str, occasion)).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), 'big') >> 1


def seed_cpu(seed: int) -> None:
    """Seed ``random``, NumPy and PyTorch's CPU generator, all that a data pipeline draws from.

    Args:
        seed (int): A number in [0, 2**63).
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


def seed_all(seed: int) -> None:
    """Seed what :func:`seed_cpu` does and the generators of every GPU, without waiting for them.

    Args:
        seed (int): A number in [0, 2**63).
    """
    seed_cpu(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
