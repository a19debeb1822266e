# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""What a check has to say, and what becomes of it when a run starts."""

import logging
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from mmengine.logging import print_log


class Finding(NamedTuple):
    """One thing that a check has found.

    Args:
        level (str): 'error' where a training would be wrong, 'warning' where it may be, 'note' where something was
            derived or left out as it should be.
        key (str): The config key of what was looked at, such as 'train_dataloader.dataset'.
        text (str): What must hold, what was found with its count and an example, and what to do.
        kind (type[Exception]): What an error is raised as. Defaults to ValueError.
    """

    level: Literal['error', 'warning', 'note']
    key: str
    text: str
    kind: type[Exception] = ValueError

    def __str__(self) -> str:
        """Return the key and the text."""
        return f'{self.key}: {self.text}' if self.key else self.text


class Survey(NamedTuple):
    """What a check has seen of a data set.

    Args:
        key (str): The config key of the data set.
        findings (list[Finding]): What is wrong or odd, and what was derived.
        counts (dict[str, int]): How many images, objects or label maps each class has. Defaults to {}.
        facts (dict[str, str]): What else the page of ``tools/misc/check_data.py`` says, such as sizes. Defaults to {}.
    """

    key: str
    findings: list[Finding]
    counts: dict[str, int] = {}
    facts: dict[str, str] = {}


def settle(findings: Iterable[Finding]) -> None:
    """Log what a run can bear, once, and refuse what it cannot.

    Args:
        findings (Iterable[Finding]): What was found.

    Raises:
        ValueError: For the errors (FileNotFoundError where files are missing): gives the first and counts the others.
    """
    findings = list(dict.fromkeys(findings))
    for finding in findings:
        if finding.level != 'error':
            level = logging.WARNING if finding.level == 'warning' else logging.INFO
            print_log(str(finding), logger='current', level=level)
    errors = [finding for finding in findings if finding.level == 'error']
    if errors:
        more = len(errors) - 1
        rest = f' ({more} more {"error" if more == 1 else "errors"}: `tools/misc/check_data.py CONFIG` lists all)'
        raise errors[0].kind(str(errors[0]) + (rest if more else ''))


def first(items: Sequence, count: int = 3) -> str:
    """Join the first items, and count the others.

    Args:
        items (Sequence): Texts, or what can be written as such.
        count (int): How many are shown. Defaults to 3.

    Returns:
        str: Such as ``'a, b, c and 7 more'``.
    """
    return ', '.join(map(str, items[:count])) + (f' and {len(items) - count} more' if len(items) > count else '')
