# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Random numbers of the patterns: those of a whole draw are made in one call."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


class Numbers:
    """Uniform random numbers in [0, 1), made in one call and handed out piece by piece, in place of a generator.

    Args:
        values (Tensor): What there is for each image, ``(B, N)``.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self.taken = 0

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        return self.values.device

    def take(self, *shape: int) -> Tensor:
        """Return the next numbers of each image, ``(B, *shape)``.

        Raises:
            ValueError: If so many are not left: the pattern said too low a number.
        """
        start, self.taken = self.taken, self.taken + math.prod(shape)
        if self.taken > self.values.shape[1]:
            raise ValueError(
                f'{self.values.shape[1]} random numbers were made for each image, but {self.taken} are taken'
            )
        return self.values[:, start : self.taken].reshape(-1, *shape)

    def rest(self) -> Numbers:
        """Return those that are left, for one of several who each take the same."""
        return Numbers(self.values[:, self.taken :])

    def of(self, index: Tensor) -> Numbers:
        """Return the numbers of some of the images, by their index, long ``(n,)``."""
        return Numbers(self.values[index])


def rand(batch: int, *shape: int, generator: Generator | Numbers | None, device: torch.device | str | None) -> Tensor:
    """Draw uniform numbers in [0, 1), or take them of those that are there.

    Args:
        batch (int): Number of images.
        *shape (int): Shape for one image.
        generator (Generator | Numbers | None): Source of random numbers; None is the global one of the device.
        device (torch.device | str | None): Where to draw.

    Returns:
        Tensor: ``(batch, *shape)``.
    """
    if isinstance(generator, Numbers):
        return generator.take(*shape)
    if generator is not None:
        return torch.rand(batch, *shape, generator=generator, device=device)
    if torch.compiler.is_compiling():
        return _eager_rand([batch, *shape], torch.empty(0, device=device).device)
    return torch.rand(batch, *shape, device=device)


def uniform_index(chance: Tensor, bound: int | Tensor) -> Tensor:
    """Turn a number in [0, 1) into a whole one in [0, bound): the product may round up to the bound."""
    index = (chance * bound).long()
    return torch.minimum(index, bound - 1) if isinstance(bound, Tensor) else index.clamp_(max=bound - 1)


# The schema spelled out: torch 2.6 cannot infer it from `list[int]`.
@torch.library.custom_op('mmmaskany::rand', mutates_args=(), schema='(SymInt[] shape, Device device) -> Tensor')
def _eager_rand(shape: list[int], device: torch.device) -> Tensor:
    """Draw as eager code does: the numbers that a compiled graph makes by itself are others."""
    return torch.rand(shape, device=device)


@_eager_rand.register_fake
def _(shape: list[int], device: torch.device) -> Tensor:
    return torch.empty(shape, device=device)
