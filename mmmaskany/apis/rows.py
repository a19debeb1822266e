# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Rows of measurements, one dict each: grouped, averaged, written."""

from __future__ import annotations

import csv
import io
import os
import statistics
from collections.abc import Sequence

from mmmaskany.utils.atomic import atomic_write


def grouped(rows: Sequence[dict], key: str) -> dict[object, list[dict]]:
    """Group rows by one of their entries.

    Args:
        rows (Sequence[dict]): The rows.
        key (str): The entry.

    Returns:
        dict[object, list[dict]]: The rows of each value, in the order in which the values appear.
    """
    groups: dict[object, list[dict]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def mean_spread(values: Sequence[float], sign: str = '', digits: int = 2) -> str:
    """Write what was measured several times as its mean ± its standard deviation.

    Args:
        values (Sequence[float]): The values; a single one has no spread.
        sign (str): '+' to write that of positive means, too. Defaults to ''.
        digits (int): Digits behind the point. Defaults to 2.

    Returns:
        str: Such as '98.87 ± 0.28'; empty where there are no values.
    """
    if not values:
        return ''
    spread = f' ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):{sign}.{digits}f}{spread}'


def write_csv(rows: Sequence[dict], out: str | os.PathLike) -> None:
    """Write rows of the same entries as a CSV file, as a whole or not at all.

    Args:
        rows (Sequence[dict]): The rows, at least one.
        out (str | os.PathLike): The file.

    Raises:
        OSError: If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(out, text.getvalue().encode())
