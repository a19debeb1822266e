# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a checkpoint leaves empty in a module, and what of it finds no place there."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from .format import EXTRA_STATE

#: Ends of names of what modules compute anew, or know without: its absence, or presence, is no mismatch.
REBUILT = ('relative_position_index', 'relative_coords_table', 'attn_mask', EXTRA_STATE)


class CheckpointMismatchError(ValueError):
    """A checkpoint that does not fill a network, or belongs to another one."""


class Mismatch(NamedTuple):
    """Where a checkpoint and a module differ.

    Args:
        wanted (int): Number of tensors that the checkpoint has to fill.
        missing (list[str]): Those that it lacks.
        reshaped (list[str]): Those that it has in another shape, with both.
        unexpected (list[str]): Its tensors that have no place where the module has others: a deeper network has every
            tensor of a shallower one.
        left (list[str]): Its other tensors, which the module has no use for: a classifier's tail, a mask token. They
            are no mismatch.
    """

    wanted: int
    missing: list[str]
    reshaped: list[str]
    unexpected: list[str]
    left: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.missing or self.reshaped or self.unexpected)

    def __str__(self) -> str:
        return (
            f'{len(self.missing)} are missing ({_some(self.missing)}), {len(self.reshaped)} have another shape '
            f'({_some(self.reshaped)}) and {len(self.unexpected)} have no place ({_some(self.unexpected)})'
        )

    def describe_left(self) -> str:
        """List what is left over: modules with their number of tensors, bare parameters by their names."""
        owners = Counter(name.rpartition('.')[0] for name in self.left if '.' in name)
        listed = [f'{owner} ({count})' for owner, count in owners.items()]
        return ', '.join([*listed, *(name for name in self.left if '.' not in name)])


def find_mismatch(module: nn.Module, tensors: Mapping[str, Tensor], optional: Sequence[str] = ()) -> Mismatch:
    """Compare the tensors of a checkpoint with those of a module.

    The checkpoint must have every tensor of the module in its shape. What it has beyond them is left over where no
    tensor of the module lies below the longest existing module on its path, such as an ``fc`` that was emptied or a
    ``conv_head`` that was cut off, and too much elsewhere: ``layer3.6`` is another depth. A second stem always is, and
    so are fusions of levels where nothing is fused late. Counters of batches, indices of relative positions and masks
    of attention do not count: modules compute them anew.

    Args:
        module (nn.Module): The module.
        tensors (Mapping[str, Tensor]): The checkpoint's tensors by the module's names.
        optional (Sequence[str]): Beginnings of names that may be in one and not in the other. Defaults to ().

    Returns:
        Mismatch: The differences; false where there are none.
    """
    own, optional = module.state_dict(), tuple(optional)
    modules = {name for name, _ in module.named_modules(remove_duplicate=False) if name}
    filled = {name for key in own for name in _paths(key)}
    wanted = [
        key for key in own if not key.startswith(optional) and not key.endswith(('num_batches_tracked', *REBUILT))
    ]
    stems = tuple({f'{key.partition(".reused.")[0]}.' for key in tensors if '.reused.' in key})
    unexpected, left = [], []
    late = getattr(module, 'fuse_at', 'stem') != 'stem'
    for key in tensors:
        if key.startswith('level_fusions.') and not late:
            unexpected.append(key)  # what was trained with late fusion computes nothing without it
            continue
        if key in own or key.startswith(optional) or key.endswith(REBUILT):
            continue
        existing = next((name for name in _paths(key) if name in modules), None)
        (unexpected if existing in filled or key.startswith(stems) else left).append(key)
    return Mismatch(
        len(wanted),
        [key for key in wanted if key not in tensors],
        [
            f'{key} {tuple(tensors[key].shape)} instead of {tuple(own[key].shape)}'
            for key in wanted
            if key in tensors and tensors[key].shape != own[key].shape
        ],
        unexpected,
        left,
    )


def _paths(name: str) -> list[str]:
    """Return the modules on the path of a tensor, the longest first: ``head.fc`` and ``head`` of ``head.fc.weight``."""
    parts = name.split('.')
    return ['.'.join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def new_norms(module: nn.Module, names: Iterable[str]) -> list[str]:
    """Return the output norms that a checkpoint lacks because what it was trained for had no such output.

    A classifier has the norm of its last level alone, ``norm3``: the others of a detector are new. A ViT that was
    pre-trained to reconstruct has no ``ln2``, the norm of the mean. The libraries start them anew.

    Args:
        module (nn.Module): The backbone.
        names (Iterable[str]): Names of the checkpoint's tensors, as the backbone calls them.

    Returns:
        list[str]: Beginnings of the names of the new norms, such as ``'norm0.'``.
    """
    children, names = {name for name, _ in module.named_children()}, list(names)
    levels = getattr(module, 'out_indices', ())
    norms = [f'norm{level}' for level in levels] if isinstance(levels, Sequence) and len(levels) > 1 else []
    norms = [f'{norm}.' for norm in (*norms, 'ln2') if norm in children]
    return [norm for norm in norms if not any(key.startswith(norm) for key in names)]


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '') if names else 'none'
