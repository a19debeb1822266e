# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Lists of images and labels, as mmpretrain reads them: an image and a number a line, or a JSON of several labels."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .files import check_present, spread
from .finding import Finding, first

#: For how many seconds it is looked for the images of a list, evenly spread over it.
SECONDS = 2


def read_list(
    key: str, path: Path, with_label: bool = True, classes: Sequence[str] | int | None = None
) -> tuple[list[str], list[int], list[Finding]]:
    """Read a list as mmpretrain does, and say what it could not read and what it would read wrongly.

    Args:
        key (str): The config key of the data set.
        path (Path): The list.
        with_label (bool): Whether each line ends in a label. Defaults to True.
        classes (Sequence[str] | int, optional): The classes, or how many there are. Defaults to None.

    Returns:
        tuple[list[str], list[int], list[Finding]]: The names of the files, their labels, and what was found.
    """
    try:
        text = path.read_bytes().decode('utf-8')
    except UnicodeDecodeError as error:
        return [], [], [Finding('error', key, f'{path} must be a text in UTF-8, but is not: {error}')]
    found = []
    if text.startswith('\ufeff'):
        found.append(
            Finding(
                'error',
                key,
                f'{path} must begin with the name of an image, but begins with a byte order mark, which becomes a '
                "part of that name: save it as UTF-8 without one (`sed -i '1s/^\\xEF\\xBB\\xBF//' FILE`)",
            )
        )
    lines = text.removeprefix('\ufeff').split('\n')
    if lines and not lines[-1]:
        lines.pop()
    names, labels, blank, bad, last = [], [], [], [], {}
    for number, line in enumerate(lines, 1):
        line = line.strip('\r')
        if not line.strip():
            blank.append(number)
            continue
        if not with_label:
            names.append(line)
            continue
        name, _, label = line.strip().rpartition(' ')
        try:
            labels.append(int(label))
            names.append(name)
            last.setdefault(labels[-1], number)
        except ValueError:
            bad.append((number, line))
    if blank:
        lines_are = f'{len(blank)} lines are' if len(blank) > 1 else 'one line is'
        found.append(
            Finding('error', key, f'each line of {path} must hold an image, but {lines_are} blank: {first(blank)}')
        )
    if bad:
        number, line = bad[0]
        found.append(
            Finding(
                'error',
                key,
                f"each line of {path} must be an image, a space and a label, as 'a/1.jpg 0', but {len(bad)} are not: "
                f'line {number} is {line!r}{_why(line, classes)}',
            )
        )
    if not lines:
        found.append(Finding('error', key, f'{path} must list images, but is empty'))
    if labels and not bad:
        found += check_range(key, labels, classes, f'{path}', lambda value: f'line {last[value]}')
        found += _twice(key, path, names, labels)
    return names, labels, found


def _why(line: str, classes: Sequence[str] | int | None) -> str:
    """Say what a line may be that is no image and number."""
    label = line.rpartition(' ')[2].strip()
    for what, mark in (('a comma', ','), ('a tab', '\t'), ('a semicolon', ';'), ('a bar', '|')):
        if mark in line:
            return f', with {what}: write a space in its place' + (
                '' if line.rpartition(mark)[2].strip().lstrip('-').isdigit() else ', and no heading'
            )
    try:
        return f': a label is a whole number, not {float(label):g}' if ' ' in line else ': it has no label'
    except ValueError:
        pass
    if isinstance(classes, Sequence) and label in classes:
        return f': a label is a number, and {label!r} is {list(classes).index(label)}'
    if ' ' not in line.strip():
        return ': it has no label (with_label=False is for lists without)'
    return ': a label is a number, from 0'


def check_range(
    key: str,
    labels: Sequence[int],
    classes: Sequence[str] | int | None,
    path: str,
    where: Callable[[int], object],
) -> Iterator[Finding]:
    """Compare labels with the classes that there are.

    Args:
        key (str): The config key of the data set.
        labels (Sequence[int]): The labels.
        classes (Sequence[str] | int, optional): The classes, or how many there are.
        path (str): What lists them.
        where (Callable): Says where a label stands.

    Yields:
        Finding: An error for labels that are no class.
    """
    count = len(classes) if isinstance(classes, Sequence) else classes
    present = sorted(set(labels))
    low, high = present[0], present[-1]
    if low < 0:
        wrong = sum(label < 0 for label in labels)
        text = f'labels must be numbers from 0, but {wrong} of {path} are below: {where(low)} has {low}'
        yield Finding('error', key, text)
    elif count and high >= count:
        wrong = sum(label >= count for label in labels)
        yield Finding(
            'error',
            key,
            f'labels must be 0 to {count - 1} for {count} classes, but {wrong} of {len(labels)} in {path} are above: '
            f'{where(high)} has {high}'
            + ('. The labels count from 1: subtract 1 from each' if low == 1 and high == count else ''),
        )


def _twice(key: str, path: Path, names: Sequence[str], labels: Sequence[int]) -> Iterator[Finding]:
    """Say which images are listed more than once."""
    seen, other = {}, []
    for name, label in zip(names, labels, strict=True):
        if seen.setdefault(name, label) != label:
            other.append(f'{name} as {seen[name]} and {label}')
    if other:
        yield Finding(
            'warning',
            key,
            f'{path} gives {len(other)} images a second label: {first(other)}. An image of several labels needs '
            'mmpretrain.MultiLabelDataset',
        )
    elif len(seen) < len(names):
        yield Finding('warning', key, f'{path} lists {len(names) - len(seen)} images more than once')


def check_listed(key: str, folder: Path, names: Sequence[str]) -> list[Finding]:
    """Make sure that the images of a list are there.

    Args:
        key (str): The config key of the data set.
        folder (Path): Where they lie, ``data_prefix``.
        names (Sequence[str]): The names in the list.

    Returns:
        list[Finding]: Errors.
    """
    looked = list(spread(names, SECONDS)) if names else []
    found = check_present(key, (os.path.join(folder, name) for name in looked))
    if not found or found[0].kind is not FileNotFoundError:
        return found
    lost = next(name for name in looked if not os.path.exists(os.path.join(folder, name)))
    text = f'{found[0].text}; {len(looked)} of {len(names)} were looked at'
    prefix = next((part for part in folder.parents if os.path.exists(os.path.join(part, lost))), None)
    if lost != lost.strip():
        text += f'; the list has more than one space behind {lost.strip()!r}'
    elif lost.rpartition(' ')[2].isdigit():
        text += '; the list has more than one label a line, which needs mmpretrain.MultiLabelDataset'
    elif prefix is not None:
        text += f'; {os.path.join(prefix, lost)} is there: take data_prefix out of the list or of the config'
    return [found[0]._replace(text=text), *found[1:]]


def read_multi_label(
    key: str, path: Path, classes: Sequence[str] | int | None = None
) -> tuple[list[str], list[list[int]], Sequence[str] | None, list[Finding]]:
    """Read a JSON of MMEngine's format whose images have several labels, and say what is wrong with it.

    Args:
        key (str): The config key of the data set.
        path (Path): The file.
        classes (Sequence[str] | int, optional): The classes, or how many there are. Defaults to None.

    Returns:
        tuple[list[str], list[list[int]], Sequence[str] | None, list[Finding]]: The names of the files, their labels,
            the classes that the file names, and what was found.
    """
    example = '{"metainfo": {"classes": [...]}, "data_list": [{"img_path": "a.jpg", "gt_label": [0, 2]}]}'
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        return [], [], None, [Finding('error', key, f'{path} must be a JSON file, but is not: {error}')]
    if not isinstance(content, dict) or not {'metainfo', 'data_list'} <= content.keys():
        return [], [], None, [Finding('error', key, f'{path} must be {example}, but lacks one of the two')]
    info, samples = content['metainfo'], content['data_list']
    named = info.get('classes') if isinstance(info, dict) else None
    classes = classes or named
    names, labels, bad, none = [], [], [], 0
    for number, sample in enumerate(samples):
        name, label = (sample.get('img_path'), sample.get('gt_label')) if isinstance(sample, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(label, list) or any(type(one) is not int for one in label):
            bad.append(f'data_list {number} is {sample}')
            continue
        names.append(name)
        labels.append(label)
        none += not label
    found = []
    if bad:
        text = (
            f'samples of {path} must have an img_path and a list of whole numbers as gt_label, but {len(bad)} have not'
        )
        found.append(Finding('error', key, f'{text}: {first(bad)}. The format is {example}'))
    if none:
        found.append(Finding('note', key, f'{none} of {len(labels)} images in {path} have no label'))
    flat = [one for label in labels for one in label]
    if flat and not bad:
        holder = {one: name for name, label in zip(names, labels, strict=True) for one in label}
        found += check_range(key, flat, classes, f'{path}', holder.get)
    if not samples:
        found.append(Finding('error', key, f'{path} must list images, but is empty'))
    return names, labels, named, found
