# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""List the models of this project by their names, which are those of their configs.

A name must hold all WORDS; a word may be a pattern, such as 'maskany_*in1k'. Metrics stay empty until they were
measured. What is piped has one name a line.

    mmmaskany list resnet18 digits
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .model_index import load_models, measured

#: Tasks by what they are called on the command line.
TASKS = {
    'classification': 'Image Classification',
    'detection': 'Object Detection',
    'segmentation': 'Semantic Segmentation',
}
_METRICS = ('Top 1 Accuracy', 'box AP', 'mIoU')


def list_models(words: str | Sequence[str] = (), task: str | None = None) -> list[dict]:
    """List the models of this project.

    Args:
        words (str | Sequence[str]): What a name must hold, or patterns of :mod:`fnmatch`, in any case of letters.
            Defaults to (), all models.
        task (str | None): One of :data:`TASKS`. None are all. Defaults to None.

    Returns:
        list[dict]: Their entries in the metafiles, see :func:`mmmaskany.hub.model_index.load_models`.

    Raises:
        ValueError: If the task is not known.
    """
    if task is not None and task not in TASKS:
        raise ValueError(f'task must be one of {list(TASKS)}, but got {task!r}')
    words = [words] if isinstance(words, str) else words
    return [
        model
        for model in load_models()
        if all(fnmatch.fnmatch(model['Name'].lower(), f'*{word.lower()}*') for word in words)
        and (task is None or any(result['Task'] == TASKS[task] for result in model['Results']))
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('words', metavar='WORD', nargs='*', help='what a name must hold (default: all models)')
    parser.add_argument('--task', choices=list(TASKS), help='models of one task')


def main(args: argparse.Namespace) -> int:
    """Print the models and return the exit code: 2 where there is none."""
    models = list_models(args.words, args.task)
    if not models:
        raise ValueError(
            f'no model has {" and ".join(args.words) or "this task"} in its name: `mmmaskany list` has all'
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        for model in models:
            print(model['Name'])
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ('name', 'data', 'parameters', 'top-1, box AP or mIoU'):
        table.add_column(title, justify='right' if title == 'parameters' else 'left', overflow='fold')
    for model in models:
        values = [value for metric in _METRICS if (value := measured(model, metric))]
        data = {result['Dataset'] for result in model['Results']}
        parameters = model['Metadata'].get('Parameters')
        cells = (model['Name'], ', '.join(sorted(data)), f'{parameters / 1e6:.1f} M' if parameters else '')
        table.add_row(*cells, ', '.join(values))
    console.print(table)
    console.print(f'{len(models)} models; `mmmaskany show NAME` says more')
    return 0
