# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""One of several patterns for each sample, or none."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Generator, Tensor

from ..draw import Draw, on_cpu
from ..random_numbers import Numbers, rand
from .base import DATA, Pattern, asked, check_draw, device_of, draw_numbers, only_count, total
from .ranked import is_ranked, ranked_cells


class MixturePattern:
    """Draws one of several patterns for each sample, or none.

    Args:
        patterns (Sequence[Pattern]): The patterns. They share ``base``, and either one ``scale`` or all have a
            ``ratio``.
        probs (Sequence[float]): Probability of each; what they leave to 1 is the share of unmasked samples, which
            see the whole image.

    Raises:
        TypeError: If one of the patterns is no pattern, or a mixture itself.
        ValueError: If the lengths differ, a probability is negative, they sum to more than 1, or the patterns do not
            share base and scale.
    """

    def __init__(self, patterns: Sequence[Pattern], probs: Sequence[float]) -> None:
        if not patterns:
            raise ValueError(f'give one probability per pattern, but got {len(patterns)} patterns and probs={probs}')
        for pattern in patterns:
            if not isinstance(pattern, Pattern):
                raise TypeError(f'the patterns of a mixture must be Patterns, but got {type(pattern).__name__}')
            check_pattern(pattern)
        for name in ('base', 'scale'):
            values = {getattr(pattern, name) for pattern in patterns}
            if len(values) > 1:
                raise ValueError(f'the patterns of a mixture must share one {name}, but got {values}')
        self.patterns = list(patterns)
        self.probs = probs
        self.base = patterns[0].base
        self.scale = patterns[0].scale

    def __repr__(self) -> str:
        return f'MixturePattern({self.patterns}, probs={self.probs})'

    @property
    def needs(self) -> tuple[str, ...]:
        """What its patterns ask for, see :attr:`Pattern.needs`."""
        return tuple(name for name in DATA if any(name in pattern.needs for pattern in self.patterns))

    @property
    def in_cells(self) -> bool:
        """Whether the cells of all patterns tell all that is drawn, see :attr:`Pattern.in_cells`."""
        return all(pattern.in_cells for pattern in self.patterns)

    @property
    def names(self) -> list[str]:
        """list[str]: The names of the patterns; of one kind the later ones are numbered: 'grid', 'grid 2'."""
        names = [pattern.name for pattern in self.patterns]
        counts = [names[: index + 1].count(name) for index, name in enumerate(names)]
        return [name if count == 1 else f'{name} {count}' for name, count in zip(names, counts, strict=True)]

    @property
    def probs(self) -> list[float]:
        """The probability of each pattern. They may be set, for the draws that follow; all 0 masks nothing."""
        return self._probs

    @probs.setter
    def probs(self, values: Sequence[float]) -> None:
        if len(values) != len(self.patterns):
            raise ValueError(
                f'give one probability per pattern, but got {len(self.patterns)} patterns and probs={list(values)}'
            )
        if not (all(prob >= 0 for prob in values) and sum(values) <= 1 + 1e-6):
            raise ValueError(f'probabilities must be >= 0 and sum to at most 1, but got {list(values)}')
        self._probs = [float(prob) for prob in values]
        self._bounds = [bound if bound < 1 - 1e-6 else 1.0 for bound in accumulate(self._probs)]

    @property
    def share(self) -> float | list[float]:
        """The one scale, or the ratios where the patterns have them; setting it sets that of every pattern."""
        return self.scale if self.scale is not None else [pattern.share for pattern in self.patterns]

    @share.setter
    def share(self, value: float) -> None:
        for pattern in self.patterns:
            pattern.share = value
        self.scale = self.patterns[0].scale

    def numbers(self, height: int, width: int) -> int | None:
        """Return how many random numbers the draw of one image takes; see :meth:`Pattern.numbers`."""
        numbers = [pattern.numbers(height, width) for pattern in self.patterns]
        known = [number for number in numbers if number is not None]
        # Each image is drawn by one of them, which takes the same.
        return 1 + max(known) if len(known) == len(numbers) else None

    def masked_cells(self, height: int, width: int) -> int:
        """Return how many base cells are masked in each image; see :meth:`Pattern.masked_cells`."""
        counts = {pattern.masked_cells(height, width) for pattern in self.patterns}
        return only_count(counts if self._bounds[-1] == 1 else counts | {0}, self)

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the canvas in base cells for images of ``height x width`` px: the largest."""
        sizes = [pattern.canvas(height, width) for pattern in self.patterns]
        return max(rows for rows, _ in sizes), max(cols for _, cols in sizes)

    def pick(self, generator: Generator | None = None) -> Pattern | None:
        """Draw which pattern masks one sample; None leaves it unmasked."""
        chance = torch.rand((), generator=generator).item()
        return next(
            (p.pick(generator) for p, bound in zip(self.patterns, self._bounds, strict=True) if chance < bound),
            None,
        )

    def draw(
        self,
        batch: int,
        height: int,
        width: int,
        generator: Generator | Numbers | None = None,
        device: torch.device | str | None = None,
        images: Tensor | None = None,
        scores: Tensor | None = None,
    ) -> Draw:
        """Draw which cells of a batch are masked; arguments and errors as in :meth:`Pattern.draw`.

        Returns:
            Draw: Each sample has the mask and source map of its own pattern; a smaller canvas than the largest is
            padded with empty cells.
        """
        data = asked(self, images, scores)
        device = device_of(generator, device, data)
        generator = draw_numbers(self, batch, height, width, generator, device)
        chance = rand(batch, generator=generator, device=device)
        # One comparison per pattern, on Python numbers: a tensor of bounds would have to be copied to the device.
        choice = total((chance >= bound).long() for bound in self._bounds)
        # All take the same numbers, of which those of one pattern count.
        parts = [
            (pattern, generator.rest() if isinstance(generator, Numbers) else generator, asked(pattern, **data))
            for pattern in self.patterns
        ]
        if not self.in_cells:
            draws = [pattern.draw(batch, height, width, numbers, device, **own) for pattern, numbers, own in parts]
            return Draw.choose([check_draw(draw).refine(self.base, height, width) for draw in draws], choice)
        rows, cols = height // self.base, width // self.base
        canvas = self.canvas(height, width)
        source = choice.new_full((batch, *canvas), -1)
        alone = on_cpu(choice) and isinstance(generator, Numbers)  # then each pattern draws its own images alone
        together = {
            index: (pattern, numbers, own)
            for index, (pattern, numbers, own) in enumerate(parts)
            if not alone and is_ranked(pattern)
        }
        for index, (pattern, numbers, own) in enumerate(parts):
            if alone:
                assert isinstance(numbers, Numbers)  # as the generator is
                mine = (choice == index).nonzero()[:, 0]
                own = {name: value[mine] for name, value in own.items()}
                cells = pattern.cells(len(mine), height, width, numbers.of(mine), device, **own)
                size = pattern.canvas(height, width)
                source[mine, : size[0], : size[1]] = cells.source(size, cols)
            elif index not in together:
                cells = pattern.cells(batch, height, width, numbers, device, **own)
                source = torch.where((choice == index).view(-1, 1, 1), cells.source(canvas, cols), source)
        if together:
            chosen = [choice == index for index in together]
            cells = ranked_cells(list(together.values()), chosen, batch, height, width, device)
            any_of_them = functools.reduce(torch.logical_or, chosen).view(-1, 1, 1)
            source = torch.where(any_of_them, cells.source(canvas, cols), source)
        draw = Draw.from_source(source, rows, cols, self.base, reuse=self.scale is not None)
        return replace(draw, masked=choice < len(self.patterns), choice=choice)


def check_pattern(pattern: object, data: Sequence[str] = DATA) -> Pattern | MixturePattern:
    """Return a pattern as it is.

    Args:
        pattern (object): The pattern.
        data (Sequence[str]): What it may ask for where it is used, of 'images' and 'scores'. Defaults to both.

    Raises:
        TypeError: If it is no pattern, or one whose constructor did not call that of its base.
        ValueError: If it asks for what it is not given where it is used.
    """
    if not isinstance(pattern, (Pattern, MixturePattern)):
        raise TypeError(f'pattern must be a Pattern or MixturePattern, but got {type(pattern).__name__}')
    name = type(pattern).__name__
    if not all(hasattr(pattern, attribute) for attribute in ('scale', 'base')):
        raise TypeError(f'a Pattern must call super().__init__ in its constructor, but {name} does not')
    if not isinstance(pattern.needs, tuple) or not set(pattern.needs) <= set(DATA):
        raise ValueError(f'needs of {name} must be a tuple of names of {list(DATA)}, but got {pattern.needs!r}')
    lacking = [need for need in pattern.needs if need not in data]
    if lacking:
        raise ValueError(
            f'a pattern here must do with {" and ".join(data) or "no data"}, but {name} needs {" and ".join(lacking)}'
            + (': mask in the model instead, by `masking` of the backbone' if data else '')
        )
    return pattern
