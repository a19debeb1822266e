# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Whether train, val, test and checkpoint mean the same classes by the same numbers.

A label is a number, and what it means is a place in a list of names: the sorted folders of one split, ``classes`` of
another, what a checkpoint was trained with. Where two lists differ, all numbers are good and all results are wrong.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .finding import Finding


class Names(NamedTuple):
    """What the labels of a data set, or the outputs of a checkpoint, are called.

    Args:
        key (str): The config key of the data set, or the checkpoint.
        classes (tuple[str, ...]): The names of the classes, in the order of the labels.
        folders (tuple[str, ...]): The folders that the labels were numbered by; empty for other sets. Defaults to ().
    """

    key: str
    classes: tuple[str, ...]
    folders: tuple[str, ...] = ()


def names_of(dataset: object, key: str) -> Iterator[Names]:
    """Yield the names of a built dataset, or of each one below its wrappers.

    Args:
        dataset (Dataset): The dataset.
        key (str): Its config key.

    Yields:
        Names: Those of a dataset that has some.
    """
    if children := getattr(dataset, 'datasets', None):
        for index, child in enumerate(children):
            yield from names_of(child, f'{key}.datasets.{index}')
        return
    child = vars(dataset).get('dataset')
    if child is not None:
        # The wrapper that makes a run replayable stands in no config.
        yield from names_of(child, key if type(dataset).__name__ == 'SeededDataset' else f'{key}.dataset')
        return
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    numbers = getattr(dataset, 'folder_to_idx', None) or {}
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        yield Names(key, tuple(map(str, classes)), tuple(sorted(numbers, key=numbers.get)))


def names_in(checkpoint: Mapping, path: str) -> Iterator[Names]:
    """Yield the names that a checkpoint was trained with, where it says so.

    Args:
        checkpoint (Mapping): The checkpoint.
        path (str): What to call it.

    Yields:
        Names: At most one.
    """
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    data = meta.get('dataset_meta')
    data = data if isinstance(data, Mapping) else meta  # as the libraries wrote them before MMEngine
    classes = data.get('classes') or data.get('CLASSES')
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        yield Names(f'checkpoint {path}', tuple(map(str, classes)))


def compare(names: Sequence[Names]) -> Iterator[Finding]:
    """Compare each list of names with the first one, and the folders of a set with its own names.

    Args:
        names (Sequence[Names]): What was found, the training data or the checkpoint first.

    Yields:
        Finding: An error where a number means something else than in the first list.
    """
    for one in names:
        yield from _own_folders(one)
    for other in names[1:]:
        first = names[0]
        for what, ours, theirs in (
            ('classes', other.classes, first.classes),
            ('folders of the classes', other.folders, first.folders),
        ):
            if ours and theirs and ours != theirs:
                yield Finding(
                    'error',
                    other.key,
                    f'the {what} must be those of {first.key}, in their order, for a label is a place in it, but '
                    f'{difference(ours, theirs)}. {other.key} has {_some(ours)}; {first.key} has {_some(theirs)}. '
                    'Give both the same folders, or the same metainfo=dict(classes=...) and labels that count by it',
                )
                break


def difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Say where two lists of names differ.

    Args:
        ours (Sequence[str]): The one.
        theirs (Sequence[str]): The other.

    Returns:
        str: What one has alone, or the first place where they differ.
    """
    here, there = Counter(ours) - Counter(theirs), Counter(theirs) - Counter(ours)
    parts = [
        f'{_some([*map(repr, names)], 3)} {"is" if len(names) == 1 else "are"} {what}'
        for names, what in ((here, 'in it alone'), (there, 'missing'))
        if names
    ]
    if not parts:
        place = next(index for index, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1])
        parts = [f'class {place} is {ours[place]!r}, not {theirs[place]!r}']
    return ' and '.join(parts)


def _own_folders(names: Names) -> Iterator[Finding]:
    """Compare the folders of a set with the names that its config gives the classes."""
    places = {name.lower(): place for place, name in enumerate(names.classes)}
    if len(names.folders) != len(names.classes):
        return
    for place, folder in enumerate(names.folders):
        called = places.get(folder.lower())
        if called is not None and called != place:
            yield Finding(
                'error',
                names.key,
                f'metainfo.classes must have the order of the folders, by which labels are numbered, but folder '
                f'{folder!r} is class {place}, called {names.classes[place]!r}: '
                f'give classes={_some(names.folders, 20)}',
            )
            return


def _some(names: Sequence[str], count: int = 10) -> str:
    """Join the first names."""
    return ', '.join(names[:count] if isinstance(names, (list, tuple)) else list(names)[:count]) + (
        f' and {len(names) - count} more' if len(names) > count else ''
    )
