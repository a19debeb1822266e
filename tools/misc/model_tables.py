# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""Write the tables of models in the READMEs, and what configs say of their results, from the metafiles.

    python tools/misc/model_tables.py            # rewrite what stands between the markers, and at the end of headers
    python tools/misc/model_tables.py --check    # only say whether anything would change

A README says where a table stands and which models it shows, those trained on one data set; beside a metafile they are
its own, elsewhere all ::

    <!-- models: ImageNet-1k -->
    <!-- /models -->

The table has a column for each metric in these models' results, and for epochs or iterations, whichever they count.
What is not measured yet has no value in the metafile and an empty cell in the table. The comment that a config begins
with ends with the results of its model, on what they were measured and by which command.
"""

import argparse
import os
import re
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout needs no install
from mmmaskany.experiments.tables import markdown_table
from mmmaskany.hub.model_index import load_models, measured, measured_on, split_header, write_generated
from mmmaskany.user_errors import run

ROOT = Path(__file__).resolve().parents[2]
MARKERS = re.compile(r'(<!-- models: (?P<data>[^>]+?) -->\n)(?P<table>.*?)(<!-- /models -->)', re.DOTALL)
#: How long models are trained, as metafiles count it.
SCHEDULES = ('Epochs', 'Iterations')
#: The metrics of metafiles and the heads of their columns, in this order.
METRICS = {
    'Top 1 Accuracy': 'Top-1 (%)',
    'Top 5 Accuracy': 'Top-5 (%)',
    'box AP': 'Box AP',
    'box AP50': 'Box AP50',
    'mask AP': 'Mask AP',
    'mIoU': 'mIoU (%)',
}


def link(name: str, target: str | None, folder: Path, root: Path) -> str | None:
    """Link a file of the repository relative to the folder of the README, or an address as it is."""
    if not target:
        return None
    path = target if '://' in target else os.path.relpath(root / target, folder)
    return f'[{name}]({path})'


def render(models: list[dict], folder: Path, root: Path = ROOT) -> str:
    """Render models as a Markdown table.

    Args:
        models (list[dict]): Entries of the metafiles.
        folder (Path): The folder of the README, to which links are relative.
        root (Path): The repository.

    Returns:
        str: The lines of the table.

    Raises:
        ValueError: If a metric is not one of :data:`METRICS`.
    """
    schedules = [key for key in SCHEDULES if any(key in model['Metadata'] for model in models)]
    named = {metric: model for model in models for result in model['Results'] for metric in result['Metrics']}
    for metric in named.keys() - METRICS:
        raise ValueError(f'a metric must be one of {list(METRICS)}, but got {metric!r} in {named[metric]["Name"]}')
    metrics = [metric for metric in METRICS if metric in named]

    heads = ['Model', 'Variant', 'Parameters (M)', *schedules, *(METRICS[metric] for metric in metrics)]
    numbers = len(heads) - 2
    rows = []
    for model in models:
        metadata = model['Metadata']
        files = [('config', model['Config']), ('model', model.get('Weights')), ('log', metadata.get('Training Log'))]
        rows.append(
            [
                metadata['Architecture'],
                metadata['Variant'],
                f'{metadata["Parameters"] / 1e6:.2f}',
                *(str(metadata.get(key, '')) for key in schedules),
                *(measured(model, metric) for metric in metrics),
                measured_on(model),
                ' '.join(filter(None, (link(name, target, folder, root) for name, target in files))),
            ]
        )
    words = (0, 1, numbers + 2, numbers + 3)
    return markdown_table([*heads, 'Measured on', 'Files'], rows, words)


def update(text: str, models: list[dict], folder: Path, root: Path = ROOT) -> str:
    """Replace the tables in the text of a README.

    Args:
        text (str): The README.
        models (list[dict]): Entries of the metafiles.
        folder (Path): The folder of the README.
        root (Path): The repository.

    Returns:
        str: The README with current tables.

    Raises:
        ValueError: If a marker names a data set that no model was trained on.
    """

    own = [model for model in models if root / model.get('Folder', '') == folder]
    models = own or models

    def table(match: re.Match) -> str:
        chosen = [model for model in models if model['Metadata']['Training Data'] == match['data']]
        if not chosen:
            known = sorted({model['Metadata']['Training Data'] for model in models})
            raise ValueError(f'a marker must name one of the data sets {known}, but got {match["data"]!r}')
        return match[1] + render(chosen, folder, root) + match[4]

    return MARKERS.sub(table, text)


def results(model: dict) -> str:
    """Render what was measured of a model as a comment.

    Args:
        model (dict): Its entry in the metafile.

    Returns:
        str: The lines of the comment; empty where nothing was measured.
    """
    values = [f'{head} {measured(model, metric)}' for metric, head in METRICS.items() if measured(model, metric)]
    if not values:
        return ''
    command = next(result['Command'] for result in model['Results'] if result.get('Command'))
    lines = textwrap.wrap(command, 104, subsequent_indent='    ', break_long_words=False, break_on_hyphens=False)
    command = ' \\\n'.join(f'#     {line}' for line in lines)
    time = f', {time} each' if (time := model['Metadata'].get('Training Time')) else ''
    return f'#\n# Measured: {", ".join(values)}; {measured_on(model)}{time}, by\n#\n{command}\n'


def update_config(text: str, model: dict) -> str:
    """Replace what the comment at the beginning of a config says of its results.

    Args:
        text (str): The config.
        model (dict): Its entry in the metafile.

    Returns:
        str: The config with current results.
    """
    comment, _, rest = split_header(text)
    return comment + results(model) + rest


def main(argv: list[str] | None = None) -> int:
    """Rewrite or check tables and configs and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 where a file is out of date')
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository (default: that of this file)')
    args = parser.parse_args(argv)
    models = load_models(args.root)
    current = {}
    for readme in [args.root / 'README.md', *sorted((args.root / 'configs').rglob('README.md'))]:
        if readme.exists():
            current[readme] = update(readme.read_text(), models, readme.parent, args.root)
    for model in models:
        config = args.root / model['Config']
        current[config] = update_config(config.read_text(), model)
    return write_generated(current, args.check, args.root)


if __name__ == '__main__':
    sys.exit(run(main))
