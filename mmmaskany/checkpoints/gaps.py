# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a checkpoint leaves empty in a module, and what of it finds no place there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

#: Ends of names of buffers that modules compute anew: their absence, or presence, is no gap.
_REBUILT = ('relative_position_index', 'relative_coords_table', 'attn_mask')


class CheckpointMismatchError(ValueError):
    """A checkpoint that leaves a gap in a network, or belongs to another one."""


class Gaps(NamedTuple):
    """Where a checkpoint and a module differ.

    Args:
        wanted (int): Number of tensors that the checkpoint has to fill.
        missing (list[str]): Those that it lacks.
        reshaped (list[str]): Those that it has in another shape, with both.
        surplus (list[str]): Its tensors below a child of the module that have no place there: a deeper network has
            every tensor of a shallower one.
    """

    wanted: int
    missing: list[str]
    reshaped: list[str]
    surplus: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.reshaped or self.surplus)

    def __str__(self) -> str:
        return (
            f'{len(self.missing)} are missing ({_some(self.missing)}), {len(self.reshaped)} have another shape '
            f'({_some(self.reshaped)}) and {len(self.surplus)} have no place ({_some(self.surplus)})'
        )


def find_gaps(module: nn.Module, tensors: Mapping[str, Tensor], optional: Sequence[str] = ()) -> Gaps:
    """Compare the tensors of a checkpoint with those of a module.

    Counters of batches, indices of relative positions and masks of attention do not count: modules compute them anew.

    Args:
        module (nn.Module): The module.
        tensors (Mapping[str, Tensor]): The checkpoint's tensors by the module's names. What belongs to no child of
            the module, such as the head of a classifier beside a backbone, is passed over.
        optional (Sequence[str]): Beginnings of names that may be in one and not in the other. Defaults to ().

    Returns:
        Gaps: The differences; false where there are none.
    """
    own, children, optional = module.state_dict(), dict(module.named_children()), tuple(optional)
    wanted = [
        key for key in own if not key.startswith(optional) and not key.endswith(('num_batches_tracked', *_REBUILT))
    ]
    return Gaps(
        len(wanted),
        [key for key in wanted if key not in tensors],
        [
            f'{key} {tuple(tensors[key].shape)} instead of {tuple(own[key].shape)}'
            for key in wanted
            if key in tensors and tensors[key].shape != own[key].shape
        ],
        [
            key
            for key in tensors
            if key not in own
            and key.partition('.')[0] in children
            and not key.startswith(optional)
            and not key.endswith(_REBUILT)
        ],
    )


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '') if names else 'none'
