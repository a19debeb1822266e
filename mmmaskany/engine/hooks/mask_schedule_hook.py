# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
from __future__ import annotations

import math
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn

from mmmaskany.masking import MixturePattern, Pattern
from mmmaskany.registry import HOOKS


@HOOKS.register_module()
class MaskScheduleHook(Hook):
    """Change how much is masked during training, from easy to hard (the curriculum of CL-MAE, arXiv 2308.16572).

    The value follows from the epoch or iteration alone, so a resumed run goes on as the undisturbed one would have. It
    is logged as ``mask_scale`` or ``mask_ratio``. It may go down as well as up. The canvas of the reused view grows
    and shrinks with a scale and is resized to half the image, so that the reused stem always sees the same size.

    Only masks that are drawn in the model are reached, not those of a data pipeline. A compiled model is compiled again
    for each new number of masked cells: take ``by_epoch=True`` with it.

    Args:
        scale (Sequence[float] | None): First and last scale, in (0, 1), of a pattern that has one. Defaults to None.
        ratio (Sequence[float] | None): First and last ratio, in (0, 1), of a pattern that has one. Give either
            ``scale`` or ``ratio``. Defaults to None.
        masking (str): Name, in the model, of a masking or whatever has a ``pattern``, or of a pattern. All patterns of
            a mixture are changed alike. Defaults to 'backbone.masking'.
        curve (str): 'linear' or 'cosine', which is slow at both ends. Defaults to 'linear'.
        by_epoch (bool): Whether the value changes with each epoch, or with each iteration. Defaults to True.

    Raises:
        ValueError: If an argument is none of these. Before the first step, if the model has no such masking, if it is
            given by the other of scale and ratio, or if the first or last value masks no cell of the images, or all.

    Example:
        >>> hook = MaskScheduleHook(ratio=(0.2, 0.6), curve='cosine')
        >>> [round(hook.value(epoch, 5), 3) for epoch in range(5)]
        [0.2, 0.259, 0.4, 0.541, 0.6]
    """

    def __init__(
        self,
        scale: Sequence[float] | None = None,
        ratio: Sequence[float] | None = None,
        masking: str = 'backbone.masking',
        curve: str = 'linear',
        by_epoch: bool = True,
    ) -> None:
        if (scale is None) == (ratio is None):
            raise ValueError(f'give either `scale` or `ratio`, but got scale={scale} and ratio={ratio}')
        self.kind, ends = ('scale', scale) if ratio is None else ('ratio', ratio)
        if not isinstance(ends, Sequence) or len(ends) != 2 or not all(0 < end < 1 for end in ends):
            raise ValueError(f'{self.kind} must be the first and the last value, both in (0, 1), but got {ends}')
        if curve not in ('linear', 'cosine'):
            raise ValueError(f"curve must be 'linear' or 'cosine', but got {curve!r}")
        self.ends = tuple(ends)
        self.masking = masking
        self.curve = curve
        self.by_epoch = by_epoch
        self._checked = False

    def value(self, step: int, steps: int) -> float:
        """Return the value at a step.

        Args:
            step (int): Number of the epoch or iteration, from 0.
            steps (int): Their number in all; the last one has the last value.

        Returns:
            float: A value between the two ends.
        """
        progress = min(step / max(steps - 1, 1), 1)
        if self.curve == 'cosine':
            progress = (1 - math.cos(math.pi * progress)) / 2
        start, end = self.ends
        return start + (end - start) * progress

    def before_train(self, runner: Runner) -> None:
        """Find the pattern.

        Args:
            runner (Runner): The runner of the training process.
        """
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError('by_epoch must be False where training counts iterations, but got True')
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._pattern = find_pattern(model, self.masking)
        other = 'ratio' if self.kind == 'scale' else 'scale'
        if (self._pattern.scale is None) == (self.kind == 'scale'):
            raise ValueError(
                f'the pattern of {self.masking!r} must have a {self.kind} to change, but got {self._pattern}: '
                f'give `{other}` instead'
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
        self._pattern.share = value
        runner.message_hub.update_scalar(f'train/mask_{self.kind}', value)

    def _check(self, data_batch: dict | None) -> None:
        """Refuse ends that cannot be drawn in images as the first one, now rather than when they are reached."""
        self._checked = True
        images = data_batch['inputs'] if isinstance(data_batch, dict) else None
        while isinstance(images, Sequence) and len(images):
            images = images[0]
        if not isinstance(images, Tensor):
            return
        for end in self.ends:
            self._pattern.share = end
            try:
                self._pattern.canvas(*images.shape[-2:])
            except ValueError as error:
                raise ValueError(f'{self.kind}={self.ends} must suit the images of the first batch: {error}') from error


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
    part = model
    for key in name.split('.'):
        try:
            part = part[int(key)] if key.isdigit() else getattr(part, key)
        except (AttributeError, IndexError, TypeError):
            part = None
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
