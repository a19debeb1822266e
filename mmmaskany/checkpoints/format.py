# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The format of a checkpoint: which functions its tensors were trained with.

A correction may change what a network computes from the same tensors. The file then has to say which of the two it was
trained with, or its results silently become others. So every checkpoint that is written bears :data:`FORMAT` as
``meta['mmmaskany_format']``, whoever writes it: MMEngine's Runner (see
:func:`mmmaskany.checkpoints.protection.protect`) or a tool of ours. A file without it is of format 1, and one of a
newer format than is known here is refused.

What the same tensors compute from each format on:

1. What they did in the first release.
2. MaskSwin shifts windows even where the map is one window, and pads smaller maps; no stem resizes what fits it.
3. No reused stem ends in a pooling of stride 1.
4. The same; but a seed draws other masks, so a resumed training goes on with others.

To change a function: raise :data:`FORMAT`, add a line to the list, and mix :class:`FormatMixin` into the module whose
function changes. The number of a file cannot tell that for a module, for a network that was loaded from an old file and
trained on still computes the old function, though its new file is of today's format.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmmaskany.version import __version__

#: The format that is written; it counts the changes of the list above.
FORMAT = 4
#: The format since which a seed draws the masks that it draws today.
MASKS = 4
#: Where a checkpoint's ``meta`` has it.
KEY = 'mmmaskany_format'
#: Ends the name under which a state dict keeps what is no tensor of a module, see ``torch.nn.Module.get_extra_state``.
EXTRA_STATE = '_extra_state'


class NewerFormatError(ValueError):
    """A checkpoint that was written by a newer mmmaskany, whose functions are not known here."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(
            f'{what} must be of format {FORMAT} or older, the newest that mmmaskany {__version__} knows, but is of '
            f'format {number}: it was written by a newer mmmaskany, so install that'
        )


def format_of(checkpoint: Mapping) -> int:
    """Return the format of a checkpoint.

    Args:
        checkpoint (Mapping): What the file holds.

    Returns:
        int: Its number; 1 where it bears none.

    Raises:
        ValueError: If what it bears is no such number.
    """
    meta = checkpoint.get('meta')
    number = meta.get(KEY, 1) if isinstance(meta, Mapping) else 1
    if type(number) is not int or number < 1:
        raise ValueError(f'meta[{KEY!r}] of a checkpoint must be a whole number from 1 on, but is {number!r}')
    return number


def check_format(checkpoint: Mapping, what: str) -> None:
    """Make sure that the functions that a checkpoint was trained with are known.

    Args:
        checkpoint (Mapping): What the file holds.
        what (str): What to call it in the error.

    Raises:
        NewerFormatError: If it is of a newer format.
        ValueError: If what it bears is no number of a format.
    """
    number = format_of(checkpoint)
    if number > FORMAT:
        raise NewerFormatError(what, number)


def stamp(checkpoint: Mapping, number: int | None = None) -> dict:
    """Give a checkpoint that is going to be written its number, unless it bears one.

    Args:
        checkpoint (Mapping): The checkpoint. Left as it is. A bare state dict has no place for the number.
        number (int, optional): The number; a tool that copies tensors gives that of its source. Defaults to None,
            today's.

    Returns:
        dict: The same content, with the number in ``meta``.
    """
    if 'state_dict' not in checkpoint and 'meta' not in checkpoint:
        return dict(checkpoint)
    return {**checkpoint, 'meta': {KEY: FORMAT if number is None else number, **(checkpoint.get('meta') or {})}}


class FormatMixin:
    """A module whose function depends on the format that its tensors come from; goes before ``nn.Module``.

    A new network computes the newest function. What a checkpoint holds goes on computing the one that it was trained
    with, also when it is trained on and saved again: the number of that function is part of the module's state, as its
    extra state (``torch.nn.Module.get_extra_state``). It travels with the tensors, whoever renames them, takes a prefix
    off or averages them, and is what ``_metadata`` of a state dict would be if OpenMMLab's libraries did not lose that
    on their ways (``init_cfg`` with a prefix, mmdet's and mmseg's Swin).

    A checkpoint that holds tensors of the module, but no number for it, was written before its function first changed.

    Example:
        >>> class Halving(FormatMixin, nn.Conv2d):
        ...     formats = (1, 3)
        ...
        ...     def forward(self, x):
        ...         return super().forward(x / 2 if self.format < 3 else F.avg_pool2d(x, 2))
    """

    #: The formats in which its function became another one, and that it still computes; 1 is the first. Ascending.
    formats: tuple[int, ...] = (1,)
    #: What to set, in words, for a checkpoint of a format that it computes no longer.
    way_out = ''
    _format: int | None = None

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        known = cls.formats
        if not known or known[0] < 1 or known[-1] > FORMAT or list(known) != sorted(set(known)):
            raise TypeError(f'formats of {cls.__name__} must ascend, within 1 to {FORMAT}, but is {known}')

    @property
    def format(self) -> int:
        """int: Which of :attr:`formats` it computes."""
        return self.formats[-1] if self._format is None else self._format

    def get_extra_state(self) -> Tensor:
        """Return the number of its function, for the state dict."""
        return torch.tensor(self.format)

    def set_extra_state(self, state: Tensor | int) -> None:
        """Compute the function of a format from now on.

        Args:
            state (Tensor | int): The format.

        Raises:
            NewerFormatError: If it is newer than what is known here.
            ValueError: If its function is not computed any longer; the message says what to set.
        """
        number, name = int(state), type(self).__name__
        if number > FORMAT:
            raise NewerFormatError(f'the checkpoint of {name}', number)
        known = [own for own in self.formats if own <= number]
        if not known:
            raise ValueError(
                f'the checkpoint of {name} must be of format {self.formats[0]} or newer, but is of format {number}, '
                f'when it computed something else. {self.way_out}'.rstrip()
            )
        self._format = known[-1]
        if self._format != self.formats[-1]:
            text = f'{name}: the checkpoint is of format {number}; what it computes is what it was trained with.'
            print_log(text, logger='current', level=logging.INFO)

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, missing_keys: list, *args
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, *args)
        key = prefix + EXTRA_STATE
        if key in state_dict:
            return
        missing_keys[:] = [name for name in missing_keys if name != key]
        tensors = [name for name in self.state_dict() if not name.endswith(EXTRA_STATE)]
        if not tensors:
            raise TypeError(f'{type(self).__name__} must hold tensors, for a checkpoint without any says nothing of it')
        if any(prefix + name in state_dict for name in tensors):
            self.set_extra_state(1)
