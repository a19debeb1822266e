# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn

from mmmaskany.masking import MixturePattern, Pattern
from mmmaskany.registry import HOOKS

#: What a schedule may move.
KINDS = ('scale', 'ratio', 'samples', 'probs')


@HOOKS.register_module()
class MaskScheduleHook(Hook):
    """Change how much is masked during training: how much of an image, or how many of the images.

    From easy to hard is the curriculum of CL-MAE (arXiv 2308.16572). Masks of the first epochs alone are the early
    dropout, and masks that end before training does leave its last epochs to whole images, as those at test time are;
    "Dropout Reduces Underfitting" (arXiv 2303.01500) did the first for dropout.

    The value follows from the epoch or iteration alone, so a resumed run goes on as the undisturbed one would have. It
    is logged as ``mask_scale``, ``mask_ratio``, ``mask_samples`` or, for each pattern, ``mask_prob_grid`` and so on. It
    may go down as well as up. The canvas of the reused view grows and shrinks with a scale and is resized to half the
    image, so that the reused stem always sees the same size.

    Several hooks may move several things, or one thing in turn: each until the next one begins. The samples and the
    probabilities of a mixture are one thing.

    Only masks that are drawn in the model are reached, not those of a data pipeline. A compiled model is compiled again
    for each new number of masked cells or of probabilities: take ``by_epoch=True`` with it.

    Args:
        scale (Sequence[float] | None): First and last scale, in (0, 1), of a pattern that has one. Defaults to None.
        ratio (Sequence[float] | None): First and last ratio, in (0, 1), of a pattern that has one. Defaults to None.
        masking (str): Name, in the model, of a masking or whatever has a ``pattern``, or of a pattern. All patterns of
            a mixture are changed alike. Defaults to 'backbone.masking'.
        curve (str): 'linear' or 'cosine', which is slow at both ends. Defaults to 'linear'.
        by_epoch (bool): Whether the value changes with each epoch, or with each iteration. Defaults to True.
        samples (Sequence[float] | None): First and last share of the samples that a mixture masks, in [0, 1]; 0 masks
            nothing. Its probabilities keep their proportions. Defaults to None.
        probs (Sequence[Sequence[float]] | None): First and last probabilities of a mixture, one for each of its
            patterns. Give just one of ``scale``, ``ratio``, ``samples`` and ``probs``. Defaults to None.
        begin (int): Epoch or iteration, from 0, which has the first value; before it all is as the model was built.
            Defaults to 0.
        end (int | None): Epoch or iteration before which the last value is reached, as ``end`` of MMEngine's schedulers
            of parameters; it holds from then on. None is the end of training. Defaults to None.

    Raises:
        ValueError: If an argument is none of these. Before the first step, if the model has no such masking, if it is
            given by another of scale, ratio and probabilities, if it could not do with other values, if two schedules
            of one thing begin at the same time, or if the first or last value masks no cell of the images, or all.

    Example:
        >>> hook = MaskScheduleHook(ratio=(0.2, 0.6), curve='cosine')
        >>> [round(hook.value(epoch, 5), 3) for epoch in range(5)]
        [0.2, 0.259, 0.4, 0.541, 0.6]
        >>> hook = MaskScheduleHook(samples=(0.4, 0), begin=1, end=4)
        >>> [hook.value(epoch, 6) for epoch in range(6)]
        [None, 0.4, 0.2, 0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        scale: Sequence[float] | None = None,
        ratio: Sequence[float] | None = None,
        masking: str = 'backbone.masking',
        curve: str = 'linear',
        by_epoch: bool = True,
        samples: Sequence[float] | None = None,
        probs: Sequence[Sequence[float]] | None = None,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        values = dict(zip(KINDS, (scale, ratio, samples, probs), strict=True))
        given = {kind: value for kind, value in values.items() if value is not None}
        if len(given) != 1:
            raise ValueError(f'give just one of {", ".join(KINDS)}, but got {given or "none"}')
        ((self.kind, ends),) = given.items()
        self.ends = _check_ends(self.kind, ends)
        if curve not in ('linear', 'cosine'):
            raise ValueError(f"curve must be 'linear' or 'cosine', but got {curve!r}")
        if not isinstance(begin, int) or begin < 0 or not (end is None or (isinstance(end, int) and end > begin)):
            raise ValueError(
                f'begin must be a whole number of at least 0, and end a larger one or None, but got begin={begin} and '
                f'end={end}'
            )
        self.masking = masking
        self.curve = curve
        self.by_epoch = by_epoch
        self.begin = begin
        self.end = end
        self._checked = False

    def value(self, step: int, steps: int) -> float | list[float] | None:
        """Return the value at a step.

        Args:
            step (int): Number of the epoch or iteration, from 0.
            steps (int): Their number in all; the last one, or that before ``end``, has the last value.

        Returns:
            float | list[float] | None: A value between the two ends, of ``probs`` one for each pattern; None before
            ``begin``.
        """
        if step < self.begin:
            return None
        last = (steps if self.end is None else self.end) - 1
        progress = min((step - self.begin) / max(last - self.begin, 1), 1)
        if self.curve == 'cosine':
            progress = (1 - math.cos(math.pi * progress)) / 2
        if self.kind == 'probs':
            return [_between(*ends, progress) for ends in zip(*self.ends, strict=True)]
        return _between(*self.ends, progress)

    def before_train(self, runner: Runner) -> None:
        """Find the pattern.

        Args:
            runner (Runner): The runner of the training process.
        """
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError('by_epoch must be False where training counts iterations, but got True')
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._pattern = find_pattern(model, self.masking)
        owner = _find_owner(model, self.masking)
        if self.kind in ('scale', 'ratio'):
            self._check_share(owner)
        else:
            self._check_mixture(owner)
        self._taken_over = self._find_successors(runner, model)
        self._warn_of_the_end(runner)

    def _find_successors(self, runner: Runner, model: nn.Module) -> list[int]:
        """Return when other schedules of the same thing take over, in whatever order they are listed."""
        moved = ('samples', 'probs') if self.kind in ('samples', 'probs') else (self.kind,)
        begins = []
        for other in runner.hooks:
            rivals = isinstance(other, MaskScheduleHook) and other is not self and other.kind in moved
            if not rivals or find_pattern(model, other.masking) is not self._pattern:
                continue
            if other.begin == self.begin or other.by_epoch != self.by_epoch:
                raise ValueError(
                    f'schedules of {self.masking!r} take turns, so they must count alike and begin at different times, '
                    f'but got {self.kind} with begin={self.begin}, by_epoch={self.by_epoch} and {other.kind} with '
                    f'begin={other.begin}, by_epoch={other.by_epoch}'
                )
            begins.append(other.begin)
        return [begin for begin in begins if begin > self.begin]

    def _warn_of_the_end(self, runner: Runner) -> None:
        """Say so where training ends before the schedule does."""
        steps, unit = (runner.max_epochs, 'epochs') if self.by_epoch else (runner.max_iters, 'iterations')
        what = f'of the {steps} {unit} of this training'
        if self.begin >= steps:
            note = f'the schedule of {self.kind} begins at {self.begin} {what}: it does nothing'
        elif self.end is not None and self.end > steps:
            note = f'the schedule of {self.kind} ends at {self.end} {what}: it gets to {self.value(steps - 1, steps)}'
        else:
            return
        print_log(f'MaskScheduleHook: {note}', logger='current', level=logging.WARNING)

    def _check_share(self, owner: object) -> None:
        """Refuse a pattern that is given by the other share, or must keep its own."""
        other = 'ratio' if self.kind == 'scale' else 'scale'
        if (self._pattern.scale is None) == (self.kind == 'scale'):
            raise ValueError(
                f'the pattern of {self.masking!r} must have a {self.kind} to change, but got {self._pattern}: '
                f'give `{other}` instead'
            )
        if getattr(owner, 'reuse', None) == 'aligned':
            raise ValueError(
                f"the scale of {self.masking!r} must stay 0.5, as reuse='aligned' needs it, but got {self.ends}: take "
                'reuse=True, or change `samples`'
            )

    def _check_mixture(self, owner: object) -> None:
        """Refuse a pattern without such probabilities, or of which as many cells must be masked in every image."""
        if not isinstance(self._pattern, MixturePattern):
            raise ValueError(
                f'the pattern of {self.masking!r} must be a mixture to change its {self.kind}, but got '
                f'{self._pattern}, which masks every image: take MixturePattern(patterns=[...], probs=[1.0])'
            )
        self._proportions = list(self._pattern.probs)
        if self.kind == 'samples' and not sum(self._proportions):
            raise ValueError(
                f'samples shares out the probabilities of {self.masking!r}, but all of them are 0: give `probs` instead'
            )
        if self.kind == 'probs' and len(self.ends[0]) != len(self._pattern.patterns):
            raise ValueError(
                f'probs must have one probability for each of the {len(self._pattern.patterns)} patterns of '
                f'{self.masking!r}, but got {self.ends}'
            )
        if getattr(owner, 'equal_counts', False):
            for end in self.ends:
                if abs((sum(end) if self.kind == 'probs' else end) - 1) > 1e-6:
                    raise ValueError(
                        f'{type(owner).__name__} drops as many tokens of every image, so it must mask all of them, but '
                        f'got {self.kind}={self.ends}: change the ratio instead'
                    )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set the value of this step.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): Index of the batch in the loop.
            data_batch (dict, optional): The batch. Defaults to None.
        """
        if not self._checked:
            self._check(data_batch)
        steps = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        value = self.value(*steps)
        if value is None or any(begin <= steps[0] for begin in self._taken_over):
            return
        self._set(self._pattern, value)
        if self.kind == 'probs':
            for name, prob in zip(self._pattern.names, value, strict=True):
                runner.message_hub.update_scalar(f'train/mask_prob_{name.replace(" ", "_")}', prob)
        else:
            runner.message_hub.update_scalar(f'train/mask_{self.kind}', value)

    def _set(self, pattern: Pattern | MixturePattern, value: float | list[float]) -> None:
        if self.kind == 'samples':
            factor = value / sum(self._proportions)
            pattern.probs = [factor * prob for prob in self._proportions]
        elif self.kind == 'probs':
            pattern.probs = value
        else:
            pattern.share = value

    def _check(self, data_batch: dict | None) -> None:
        """Refuse ends that cannot be drawn in images as the first one, now rather than when they are reached."""
        self._checked = True
        images = data_batch['inputs'] if isinstance(data_batch, dict) else None
        while isinstance(images, Sequence) and len(images):
            images = images[0]
        if not isinstance(images, Tensor):
            return
        pattern = copy.deepcopy(self._pattern)  # before its begin it stays as it is
        for end in self.ends:
            self._set(pattern, end)
            try:
                pattern.canvas(*images.shape[-2:])
            except ValueError as error:
                raise ValueError(f'{self.kind}={self.ends} must suit the images of the first batch: {error}') from error


def _between(start: float, end: float, progress: float) -> float:
    return start + (end - start) * progress


def _check_ends(kind: str, ends: object) -> tuple:
    """Return the first and the last value, if they are such."""
    pair = isinstance(ends, Sequence) and len(ends) == 2
    if kind == 'probs':
        good = pair and all(isinstance(end, Sequence) and len(end) == len(ends[0]) > 0 for end in ends)
        if not (good and all(min(end) >= 0 and sum(end) <= 1 + 1e-6 for end in ends)):
            raise ValueError(
                'probs must be the first and the last probabilities, of each as many as there are patterns, >= 0 and '
                f'with a sum of at most 1, but got {ends}'
            )
        return tuple(tuple(end) for end in ends)
    if not pair or not all(0 <= end <= 1 if kind == 'samples' else 0 < end < 1 for end in ends):
        inside = '[0, 1]' if kind == 'samples' else '(0, 1)'
        raise ValueError(f'{kind} must be the first and the last value, both in {inside}, but got {ends}')
    return tuple(ends)


def find_pattern(model: nn.Module, name: str) -> Pattern | MixturePattern:
    """Find a pattern in a model.

    Args:
        model (nn.Module): The model.
        name (str): Name of a masking, or of whatever has a ``pattern``, or of a pattern; items of lists by number.

    Returns:
        Pattern | MixturePattern: The pattern.

    Raises:
        ValueError: If there is none of this name.
    """
    part = _find(model, name)
    pattern = getattr(part, 'pattern', part)
    if not isinstance(pattern, (Pattern, MixturePattern)):
        kind, parts = type(part).__name__, model.named_modules()
        known = [
            known for known, part in parts if isinstance(getattr(part, 'pattern', None), (Pattern, MixturePattern))
        ]
        raise ValueError(
            f'masking must name what masks in the model, but {name!r} is {kind}; '
            f'in this model {known or "nothing"} would do'
        )
    return pattern


def _find_owner(model: nn.Module, name: str) -> object:
    """Return what masks with the pattern of a name: itself, or what the pattern is a part of; None for nothing."""
    keys = name.split('.')
    parts = (_find(model, '.'.join(keys[:count])) for count in range(len(keys), 0, -1))
    return next((part for part in parts if hasattr(part, 'reuse') or hasattr(part, 'equal_counts')), None)


def _find(model: nn.Module, name: str) -> object:
    """Return what has a name in a model, None where nothing has."""
    part = model
    for key in name.split('.'):
        try:
            part = part[int(key)] if key.isdigit() else getattr(part, key)
        except (AttributeError, IndexError, TypeError):
            return None
    return part
