# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Rows of measurements: grouped, and written as CSV or Markdown."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Sequence

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


def markdown_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int] = (0,), aligned: bool = False
) -> str:
    """Write rows as a Markdown table.

    Args:
        head (Sequence[str]): The titles of the columns.
        rows (Sequence[Sequence[str]]): The cells of each row.
        words (Collection[int]): The columns of words; those of numbers, all others, are aligned to the right. Defaults
            to the first one.
        aligned (bool): Whether columns are filled up with spaces, for who reads it as it stands. Defaults to False.

    Returns:
        str: The lines of the table, each with its end.
    """
    lines = [[cell.replace('|', '\\|') for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) if aligned else 0 for column in zip(*lines, strict=True)]
    columns = [(width, str.ljust if index in words else str.rjust) for index, width in enumerate(widths)]
    lines = [[fill(cell, width) for cell, (width, fill) in zip(line, columns, strict=True)] for line in lines]
    rule = ['-' * max(3, width) if fill is str.ljust else '-' * max(3, width - 1) + ':' for width, fill in columns]
    return ''.join(f'| {" | ".join(line)} |\n' for line in (lines[0], rule, *lines[1:]))
