# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The highest cells of filtered noise."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..random_numbers import Numbers, rand
from .base import Layout, SampleLayouts
from .ranked import RankedPattern


class NoisePattern(RankedPattern):
    """The highest cells of filtered noise, as in ColorMAE (arXiv 2407.13036): data-independent, but not uniform.

    White noise, one number per own cell, is filtered by Gaussians; how large and how regular the masked regions are
    follows from the frequencies that are left:

    ========  =========  =====================================  ==========================================
    color     filter     of the noise W, blurred by G           masked regions
    ========  =========  =====================================  ==========================================
    red       low-pass   ``G(sigma) W``                         large and smooth
    blue      high-pass  ``W - G(sigma) W``                     single cells, evenly spread
    green     band-pass  ``G(sigma[0]) W - G(sigma[1]) W``      clusters of one size, at regular distances
    purple    band-stop  ``W - (G(sigma[0]) - G(sigma[1])) W``  single cells, and some large regions
    ========  =========  =====================================  ==========================================

    Args:
        scale (float | None): See :class:`.Pattern`. Defaults to None.
        ratio (float | None): See :class:`.Pattern`. Defaults to None.
        cell (int | Sequence[int]): Side of a cell in pixels, or those to draw from. Defaults to 16.
        color (str): 'red', 'blue', 'green' or 'purple'. Defaults to 'green', the paper's best.
        sigma (float | tuple[float, float] | None): Standard deviation of the Gaussian in own cells; for green and
            purple of both, the narrow one first. None is :attr:`sigmas`. Defaults to None.
        base (int): Side of a base cell in pixels. Defaults to 4.

    Raises:
        ValueError: If the color is not known, or ``sigma`` is not one positive number for red and blue, or an
            increasing pair of them for green and purple.
    """

    needs = ()
    #: The standard deviations of each color where none are given, in own cells.
    sigmas = {'red': 1.0, 'blue': 1.0, 'green': (0.5, 2.0), 'purple': (0.5, 2.0)}

    def __init__(
        self,
        scale: float | None = None,
        ratio: float | None = None,
        cell: int | Sequence[int] = 16,
        color: str = 'green',
        sigma: float | tuple[float, float] | None = None,
        base: int = 4,
    ) -> None:
        super().__init__(scale, ratio, cell, base)
        if color not in self.sigmas:
            raise ValueError(f'color must be one of {list(self.sigmas)}, but got {color!r}')
        usual = self.sigmas[color]
        given = usual if sigma is None else sigma
        sigmas = tuple(given) if isinstance(given, Sequence) else (given,)
        wanted = len(usual) if isinstance(usual, tuple) else 1
        if len(sigmas) != wanted or sigmas[0] <= 0 or list(sigmas) != sorted(set(sigmas)):
            what = 'a positive number' if wanted == 1 else 'an increasing pair of positive numbers'
            raise ValueError(f'sigma must be {what} for {color} noise, but got {sigma}')
        self.color = color
        self.sigma = sigmas

    @property
    def name(self) -> str:
        """Such as 'green noise'."""
        return f'{self.color} noise'

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, color={self.color!r}, sigma={list(self.sigma)})'

    @property
    def margin(self) -> int:
        """int: How far the filter reaches, in own cells: three standard deviations."""
        return math.ceil(3 * self.sigma[-1])

    def filter(self) -> Tensor:
        """Return what the noise is convolved with, ``(2 * margin + 1, 2 * margin + 1)``, with the lowest the best."""
        size = 2 * self.margin + 1
        frequency = torch.fft.fftfreq(size).view(-1, 1).square() + torch.fft.rfftfreq(size).square()
        low, *wide = (torch.exp(-2 * (math.pi * sigma) ** 2 * frequency) for sigma in self.sigma)
        passed = low - wide[0] if wide else low
        passed = 1 - passed if self.color in ('blue', 'purple') else passed
        return -torch.fft.fftshift(torch.fft.irfft2(passed, s=(size, size)))

    def count_numbers(self, largest: Layout) -> int:
        return (largest.grid_rows + 2 * self.margin) * (largest.grid_cols + 2 * self.margin)

    def scores(
        self, layout: SampleLayouts, largest: Layout, generator: Generator | Numbers | None, **data: Tensor
    ) -> Tensor:
        batch, device = len(layout.count), layout.count.device
        shape = largest.grid_rows + 2 * self.margin, largest.grid_cols + 2 * self.margin
        noise = rand(batch, 1, *shape, generator=generator, device=device)
        # In half precision many scores would be the same.
        with contextlib.nullcontext() if device.type == 'meta' else torch.autocast(device.type, enabled=False):
            return F.conv2d(noise, self._on(device, 'filter', self.filter)[None, None])[:, 0]
