# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Rows of measurements, one dict each: grouped, and written."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

from mmmaskany.checkpoints.atomic import atomic_write


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
