# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
"""The report of an experiment: what the variants reached, whether that is chance, and what lies behind it."""

from __future__ import annotations

import io
import math
import platform
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from mmmaskany.inference.trained import read_scalars
from mmmaskany.version import __version__
from mmmaskany.visualization.curves import draw_curve, new_panels

from ..plan import Plan, describe, many
from ..runs import METRICS, Result, Run, mean_spread
from ..tables import write_csv
from ..variants import VARIANTS
from .explain import disagreements, looking_sheet
from .measure import OCCLUDED, Cost, Measured, cost, measure
from .page import Page

_NUMBERS = ('no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')
#: Columns of a plot that shows how the classes are confused: more cannot be told apart.
_CONFUSED = 120
#: Steps of a run from which on their times can be compared.
STEADY = 20


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> tuple[float, float] | None:
    """Compare two variants seed by seed.

    Args:
        one (Mapping[int, float]): What a variant reached, by its seeds.
        other (Mapping[int, float]): What the baseline reached.

    Returns:
        tuple[float, float] | None: The mean difference and half of its 95 % interval by Student's t, which is NaN of a
        single seed; None where they have no seed in common.
    """
    gaps = [one[seed] - other[seed] for seed in one if seed in other]
    if not gaps:
        return None
    if len(gaps) == 1:
        return gaps[0], math.nan
    error = statistics.stdev(gaps) / math.sqrt(len(gaps))
    return statistics.mean(gaps), float(stats.t.ppf(0.975, len(gaps) - 1)) * error


def say(title: str, baseline: str, gap: tuple[float, float] | None, seeds: int, unit: str) -> str:
    """Say in one plain sentence whether a variant is better.

    Args:
        title (str): The variant.
        baseline (str): What it is compared with.
        gap (tuple[float, float] | None): As of :func:`paired`.
        seeds (int): How many seeds both have.
        unit (str): What is compared, such as 'top-1'.

    Returns:
        str: The sentence.
    """
    if gap is None:
        return f'{title} cannot be compared with {baseline}: no seed of both has finished.'
    mean, half = gap
    count = _NUMBERS[seeds] if seeds < len(_NUMBERS) else str(seeds)
    all_of_them = f'{count} seed{"s" if seeds > 1 else ""}'
    spread = '' if math.isnan(half) else f' ± {half:.1f}'
    if abs(mean) < 0.05:
        what = f'{title} against {baseline} in {unit}, {all_of_them}'
        return f'{what}: no difference can be told ({mean:+.1f}{spread} points).'
    start = f'{title} is {abs(mean):.1f}{spread} points {"above" if mean > 0 else "below"} {baseline} in {unit}'
    if math.isnan(half) or abs(mean) <= half or half == 0:
        return f'{start}: {all_of_them} cannot tell it from chance.'
    return f'{start}: with {all_of_them} this is unlikely to be chance.'


def write_report(plan: Plan, runs: Sequence[Run], results: Sequence[Result], failures: Sequence[str]) -> str:
    """Measure what has finished and write ``report.html``, ``report.md`` and ``results.csv``.

    Args:
        plan (Plan): The plan.
        runs (Sequence[Run]): All runs.
        results (Sequence[Result]): What those gave that finished.
        failures (Sequence[str]): What went wrong with the others.

    Returns:
        str: The sentence that sums it up.
    """
    failures = list(failures)
    done = {(result.variant, result.seed): result for result in results}
    measured: dict[tuple[str, int], Measured] = {}
    for run in runs:
        if (run.variant, run.seed) in done:
            try:
                measured[run.variant, run.seed] = measure(run, plan)
            except (RuntimeError, ValueError, KeyError, OSError) as error:
                failures.append(f'{run} could not be measured: {error}')
    values = _values(plan, done, measured)
    variants = [name for name in plan.variants if any(variant == name for variant, _ in done)]
    sentence = _sentence(plan, values, variants)
    title = f'{plan.data.path.name}: {", ".join(VARIANTS[name].title for name in plan.variants)}'
    page = Page(title, plan.out / 'figures')
    page.text(sentence, 'lead')
    for failure in failures:
        page.text(f'Failed: {short_failure(failure)}', 'bad')
    if variants:
        costs = _costs(plan, variants, runs, page)
        _table(page, plan, values, variants)
        _set_apart(page, plan, values, variants)
        if measured:
            _occlusion(page, plan, measured, variants)
        _curves(page, plan, runs, variants)
        if plan.data.task == 'classification' and measured:
            _confusion(page, plan, measured, variants)
        _looking(page, plan, runs, measured, variants)
        _cost_table(page, plan, variants, costs, done)
        _write_rows(plan, values, done, measured)
    _about(page, plan, runs)
    page.write(plan.out)
    return sentence


# ---------------------------------------------------------------------- numbers


def _values(plan: Plan, done: Mapping, measured: Mapping) -> dict[str, dict[str, dict[int, float]]]:
    """Return by the title of a metric what each variant reached with each seed."""
    table: dict[str, dict[str, dict[int, float]]] = {}
    for (variant, seed), result in done.items():
        for metric in plan.metrics:
            title, factor = METRICS[metric]
            if metric in result.metrics:
                table.setdefault(title, {}).setdefault(variant, {})[seed] = result.metrics[metric] * factor
    if plan.data.task == 'classification':
        truth = np.array([sample.label for sample in plan.data.splits['val'].samples])
        for (variant, seed), own in measured.items():
            if len(own.predicted) == len(truth):
                table.setdefault('class mean (%)', {}).setdefault(variant, {})[seed] = class_mean(truth, own.predicted)
    return table


def class_mean(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Average the accuracy of the classes, each counted alike.

    Args:
        truth (np.ndarray): The classes ``(N,)``.
        predicted (np.ndarray): What was predicted ``(N,)``.

    Returns:
        float: Percent, over the classes that occur.
    """
    return 100 * float(np.mean([np.mean(predicted[truth == label] == label) for label in np.unique(truth)]))


def _main(values: Mapping) -> tuple[str, dict[str, dict[int, float]]]:
    return next(iter(values.items()))


def _sentence(plan: Plan, values: Mapping, variants: Sequence[str]) -> str:
    if not variants:
        return 'No run has finished: the reasons are below.'
    title, table = _main(values)
    unit = title.partition(' (')[0]
    others = [name for name in variants if name != variants[0]]
    name = 'maskany' if 'maskany' in others else next(iter(others), None)
    if name is None or plan.variants[0] not in variants:
        reached = ', '.join(
            f'{VARIANTS[variant].title} {mean_spread(list(table[variant].values()))} %' for variant in variants
        )
        return f'{unit}: {reached}; there is nothing to compare it with.'
    common = sum(seed in table[variants[0]] for seed in table[name])
    baseline = 'the plain network' if variants[0] == 'plain' else VARIANTS[variants[0]].title
    return say(VARIANTS[name].title, baseline, paired(table[name], table[variants[0]]), common, unit)


def _table(page: Page, plan: Plan, values: Mapping, variants: Sequence[str]) -> None:
    page.heading('What they reached')
    first = VARIANTS[variants[0]].title
    head, rows = ['variant'], [[VARIANTS[variant].title] for variant in variants]
    for index, (title, table) in enumerate(values.items()):
        head.append(title)
        for row, variant in zip(rows, variants, strict=True):
            row.append(mean_spread(list(table.get(variant, {}).values())))
        if len(variants) > 1:
            head += [f'against {first}', '95 % interval'] if index == 0 else [f'against {first}']
            for row, variant in zip(rows, variants, strict=True):
                gap = paired(table.get(variant, {}), table.get(variants[0], {})) if variant != variants[0] else None
                row.append('' if gap is None else f'{gap[0]:+.2f}')
                if index == 0:
                    known = gap is not None and not math.isnan(gap[1])
                    row.append(f'{gap[0] - gap[1]:+.2f} to {gap[0] + gap[1]:+.2f}' if known else '')
    head.append('seeds')
    for row, variant in zip(rows, variants, strict=True):
        row.append(str(len(_main(values)[1].get(variant, {}))))
    page.table(head, rows)
    count = len(plan.data.splits['val'].samples)
    mean = ' The class mean counts each class alike.' if plan.data.task == 'classification' else ''
    page.text(
        f'Mean and standard deviation over the seeds, on {count:,} validation images, after the last epoch and never '
        f"the best one. Differences are taken seed by seed, their interval is by Student's t.{mean}",
        'note',
    )


def _set_apart(page: Page, plan: Plan, values: Mapping, variants: Sequence[str]) -> None:
    """Say of every further variant how it compares."""
    title, table = _main(values)
    unit = title.partition(' (')[0]
    for name in variants[1:]:
        if len(variants) > 2:
            common = sum(seed in table[variants[0]] for seed in table[name])
            page.text(
                say(
                    VARIANTS[name].title,
                    VARIANTS[variants[0]].title,
                    paired(table[name], table[variants[0]]),
                    common,
                    unit,
                )
            )


def _write_rows(plan: Plan, values: Mapping, done: Mapping, measured: Mapping) -> None:
    rows = []
    for (variant, seed), result in done.items():
        row = dict(variant=variant, seed=seed)
        row.update(
            {title: round(table[variant][seed], 4) for title, table in values.items() if seed in table.get(variant, {})}
        )
        row['step (s)'] = result.step
        if (variant, seed) in measured:
            for test in measured[variant, seed].occlusion:
                name = f'{test["pattern"]} {test["masked"]:.0%} masked' if test['pattern'] else 'whole'
                row[name] = test['value']
        rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    write_csv([{key: row.get(key, '') for key in keys} for row in rows], plan.out / 'results.csv')


# ---------------------------------------------------------------------- pictures


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=144, metadata={'Software': None})
    return buffer.getvalue()


def _occlusion(page: Page, plan: Plan, measured: Mapping, variants: Sequence[str]) -> None:
    page.heading('Under occlusion')
    title = METRICS[plan.metrics[0]][0]
    names = list(dict.fromkeys(test['pattern'] for own in measured.values() for test in own.occlusion))[1:]
    figure, panels = new_panels([{'random': 'scattered cells', 'patch': 'one patch'}.get(name, name) for name in names])
    rows = []
    for panel, name in zip(panels, names, strict=True):
        for index, variant in enumerate(variants):
            own = [one.occlusion for (other, _), one in measured.items() if other == variant]
            if not own:
                continue
            shares = [test['masked'] for test in own[0] if test['pattern'] in ('', name)]
            reached = [
                [
                    test['value']
                    for one in own
                    for test in one
                    if test['masked'] == share and test['pattern'] in ('', name)
                ]
                for share in shares
            ]
            draw_curve(panel, [100 * share for share in shares], reached, VARIANTS[variant].title, index)
            rows.append([f'{VARIANTS[variant].title}, {panel.get_title()}', *(mean_spread(one) for one in reached)])
        panel.set(xlabel='masked share of each image (%)', ylabel=title)
        panel.sharey(panels[0])
        panel.legend(frameon=False, fontsize=8)
    panels[0].set_ylim(bottom=0)
    page.picture('occlusion', _png(figure), f'{title} by the masked share of the images', 360 * min(2, len(names)))
    page.table([title, *(f'{share:.0%} masked' if share else 'whole' for share in shares)], rows)
    count = min(OCCLUDED, len(plan.data.splits['val'].samples))
    page.text(f'{count:,} validation images, masked with black; the same masks for all.', 'note')


def _curves(page: Page, plan: Plan, runs: Sequence[Run], variants: Sequence[str]) -> None:
    page.heading('How they learned')
    metric = plan.metrics[0]
    title, factor = METRICS[metric]
    figure, panels = new_panels(['training loss', f'{title}, validation'])
    for index, variant in enumerate(variants):
        losses: dict[int, dict[int, float]] = {}
        tested: dict[int, list[float]] = {}
        for run in runs:
            if run.variant != variant:
                continue
            for record in read_scalars(plan.out / run.folder):
                if 'lr' in record and 'loss' in record:
                    # The later start of a run that went on has the last word on a step.
                    losses.setdefault(int(record['step']), {})[run.seed] = record['loss']
                elif metric in record:
                    tested.setdefault(int(record['step']), {})[run.seed] = record[metric] * factor
        steps = sorted(losses)
        if steps:
            means = [statistics.mean(losses[step].values()) for step in steps]
            places = [step / plan.steps for step in steps]
            every = max(1, len(steps) // 40)
            draw_curve(
                panels[0], places[::every], [[value] for value in means[::every]], VARIANTS[variant].title, index
            )
        if tested:
            epochs = sorted(tested)
            draw_curve(
                panels[1], epochs, [list(tested[epoch].values()) for epoch in epochs], VARIANTS[variant].title, index
            )
    for panel in panels:
        panel.set_xlabel('epoch')
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=8)
        for line in panel.lines if panel is panels[0] else ():
            line.set_marker('')
    page.picture('curves', _png(figure), 'training loss and validation by epoch', 720)
    page.text('The training loss of a variant that masks is of harder images: compare the validation.', 'note')


def _confusion(page: Page, plan: Plan, measured: Mapping, variants: Sequence[str]) -> None:
    page.heading('What is confused')
    truth = np.array([sample.label for sample in plan.data.splits['val'].samples])
    classes = plan.data.classes
    tables = {}
    for variant in variants:
        own = [one.predicted for (other, _), one in measured.items() if other == variant]
        if own and all(len(one) == len(truth) for one in own):
            table = np.zeros((len(classes), len(classes)))
            for predicted in own:
                np.add.at(table, (truth, predicted), 1 / len(own))
            tables[variant] = table
    if not tables:
        return
    wrong = sum(tables.values())
    np.fill_diagonal(wrong, 0)
    order = np.argsort(wrong.ravel())[::-1][:8]
    pairs = [divmod(int(place), len(classes)) for place in order if wrong.ravel()[place] > 0]
    if pairs:
        rows = [
            [
                f'{classes[one]}, taken for {classes[other]}',
                *(f'{tables[variant][one, other]:.1f}' for variant in tables),
            ]
            for one, other in pairs
        ]
        page.table(['validation images a run', *(VARIANTS[variant].title for variant in tables)], rows)
    if len(classes) <= _CONFUSED:
        figure, panels = new_panels([VARIANTS[variant].title for variant in tables], size=(4.2, 4.0))
        for panel, table in zip(panels, tables.values(), strict=True):
            shown = table / np.maximum(table.sum(1, keepdims=True), 1)
            panel.imshow(shown, cmap='Blues', vmin=0, vmax=1, interpolation='nearest')
            panel.grid(False)
            if len(classes) <= 20:
                panel.set_xticks(range(len(classes)), [name[:14] for name in classes], rotation=90, fontsize=7)
                panel.set_yticks(range(len(classes)), [name[:14] for name in classes], fontsize=7)
            else:
                panel.set_xticks([])
                panel.set_yticks([])
            panel.set(xlabel='predicted', ylabel='true class')
        page.picture('confusion', _png(figure), 'which class is taken for which', 420 * min(2, len(tables)))


def _looking(page: Page, plan: Plan, runs: Sequence[Run], measured: Mapping, variants: Sequence[str]) -> None:
    """Show the images that the first variant and MaskAny disagree on most."""
    other = 'maskany' if 'maskany' in variants[1:] else next(iter(variants[1:]), None)
    common = [seed for variant, seed in measured if variant == other and (variants[0], seed) in measured]
    if other is None or not common:
        return
    page.heading('Where they look')
    seeds = sorted(common)
    places = disagreements(plan, [(measured[variants[0], seed], measured[other, seed]) for seed in seeds])
    pair = [
        next(run for run in runs if run.variant == variant and run.seed == seeds[0]) for variant in (variants[0], other)
    ]
    try:
        png = looking_sheet(plan, pair, places)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        page.text(f'Not drawn: {error}', 'note')
        return
    page.picture('looking', png, 'Grad-CAM of the images on which the variants disagree most', 900)
    page.text(
        f'Grad-CAM, of seed {seeds[0]}, on the validation images on which {VARIANTS[variants[0]].title} and '
        f'{VARIANTS[other].title} disagree most over all seeds.',
        'note',
    )


# ---------------------------------------------------------------------- cost, and about the experiment


def _costs(plan: Plan, variants: Sequence[str], runs: Sequence[Run], page: Page) -> dict[str, Cost]:
    costs = {}
    for variant in variants:
        config = next(run.config for run in runs if run.variant == variant)
        try:
            costs[variant] = cost(config, plan)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            page.text(
                f'The cost of {VARIANTS[variant].title} could not be measured: {short_failure(str(error))}', 'bad'
            )
    return costs


def _cost_table(page: Page, plan: Plan, variants: Sequence[str], costs: Mapping[str, Cost], done: Mapping) -> None:
    page.heading('What they cost')
    rows, baseline = [], None
    steady = plan.steps * plan.epochs >= STEADY
    for variant in variants:
        steps = [result.step for (other, _), result in done.items() if other == variant and result.step]
        gpu = [result.memory for (other, _), result in done.items() if other == variant and result.memory]
        step = statistics.median(steps) if steps else None
        baseline = baseline or step
        own = costs.get(variant)
        memory = max(gpu) if gpu else own.memory if own else None
        rows.append(
            [
                VARIANTS[variant].title,
                f'{own.parameters / 1e6:.2f} M' if own else '',
                f'{own.macs / 1e6:,.{0 if own.macs > 1e8 else 1}f} M' if own else '',
                f'{1000 * step:,.0f} ms' if step else '',
                f'{step / baseline:.2f}' if step and steady else '',
                f'{memory:,.0f} MiB' if memory else '',
            ]
        )
    page.table(['variant', 'parameters', 'MACs an image', 'training step', 'ratio', 'memory of a step'], rows)
    note = 'Steps are timed in the runs themselves, the median; other work on the machine slows them.'
    if not steady:
        done = many(plan.steps * plan.epochs, 'step')
        note += f' Runs of {done} have no ratio: the first steps take longer, it needs {STEADY}.'
    page.text(note, 'note')


def _about(page: Page, plan: Plan, runs: Sequence[Run]) -> None:
    page.heading('What was odd in the data')
    for text in plan.data.odd or ['Nothing that was looked for.']:
        page.text(text)
    page.heading('What was done')
    page.table(['', ''], describe(plan), words=True)
    threads = torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads'
    page.text(
        f'mmmaskany {__version__}, torch {torch.__version__}, Python {platform.python_version()}, {threads}.', 'note'
    )
    page.text('Each variant is an ordinary config, which may be edited and trained by itself:')
    page.code('\n'.join(f'python tools/train.py {config}' for config in dict.fromkeys(str(run.config) for run in runs)))
    page.text('Predict with what was learned:')
    page.code(f'mmmaskany predict {plan.out} IMAGES')


def short_failure(text: str) -> str:
    """Take of a failure what it was and the last line that says why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].partition('; the end of')[0] + (f': {lines[-1]}' if len(lines) > 1 else '')
